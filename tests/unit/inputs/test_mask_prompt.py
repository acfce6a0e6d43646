"""Mask prompts as files in base64: what is read, and what is refused."""

import base64
import io
import re
import struct

import numpy as np
import orjson
import pytest
from PIL import Image

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadPrompt
from sampoll.inputs.mask_prompt import decode_mask_prompt, encode_mask_prompt
from sampoll.inputs.prompt_file import parse_prompts, prompts_document


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def png(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", **options)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


GRAY = np.linspace(0, 255, 256 * 256).reshape(256, 256).astype(np.uint8)
LOGITS = np.random.default_rng(0).normal(0, 9, (256, 256)).astype(np.float32)


def test_black_is_minus_ten_white_is_ten_and_gray_lies_between() -> None:
    logits = decode_mask_prompt(in_base64(png(GRAY))).logits

    assert logits.dtype == np.float32
    assert np.allclose(logits, GRAY / 255.0 * 20 - 10, atol=1e-5)


def test_one_bit_a_pixel_is_a_png_too() -> None:
    assert set(np.unique(decode_mask_prompt(in_base64(png(GRAY > 99))).logits)) == {-10, 10}


@pytest.mark.parametrize("array", [LOGITS, LOGITS[None], LOGITS.astype("f8"), LOGITS.astype("f2")])
def test_logits_are_read_unchanged(array: np.ndarray) -> None:
    assert np.allclose(decode_mask_prompt(in_base64(npy(array))).logits, LOGITS, rtol=1e-3)


def test_newlines_in_base64_are_ignored() -> None:
    text = base64.encodebytes(png(GRAY)).decode()

    assert encode_mask_prompt(decode_mask_prompt(text)) == in_base64(png(GRAY))


HUGE_HEADER = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }".ljust(117) + b"\n"
HUGE_NPY = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(HUGE_HEADER)) + HUGE_HEADER


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%%%", "is not base64"),
        ("ä", "is not base64"),
        (in_base64(b"GIF89a"), "must be a PNG or an .npy file"),
        (in_base64(png(GRAY[:200])), "grayscale PNG of 256x256 pixels, and is L of 256x200"),
        (in_base64(png(np.zeros((256, 256, 3), np.uint8))), "and is RGB of 256x256"),
        (in_base64(png(GRAY)[:300]), "is a PNG that cannot be read"),
        (
            in_base64(npy(LOGITS[:9])),
            "floats of shape (256, 256), and holds float32 of shape (9, 256)",
        ),
        (in_base64(npy(LOGITS.astype(np.int32))), "and holds int32"),
        (in_base64(npy(np.array([{"a": 1}], dtype=object))), "and holds object"),
        (in_base64(npy(LOGITS)[:-9]), "is an .npy file that cannot be used"),
        (in_base64(b"\x93NUMPY"), "is an .npy file that cannot be used"),
        (in_base64(npy(LOGITS)[:70]), "is an .npy file that cannot be used"),
        (in_base64(HUGE_NPY[:70] + b"\n" * 58), "is an .npy file that cannot be used"),
        (in_base64(HUGE_NPY), "of shape (1000000, 1000000)"),
        (in_base64(npy(np.full((256, 256), np.nan, np.float32))), "not finite"),
    ],
)
def test_any_other_content_is_refused_before_memory_is_allocated(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        decode_mask_prompt(text)


def test_a_refusal_names_the_file_and_the_field() -> None:
    content = orjson.dumps({"prompts": [{"mask": in_base64(png(GRAY))}, {"mask": "%"}]})

    with pytest.raises(BadPrompt, match=r"cat\.json: prompts\[1\]\.mask: is not base64"):
        parse_prompts(content, "cat.json", LimitSettings())


def test_the_record_has_the_mask_prompt_unchanged() -> None:
    sent = {"mask": in_base64(npy(LOGITS)), "refine": 2, "box": {"x0": 0.0, "y0": 0.0, "x1": 9.0, "y1": 9.0}}
    prompts = parse_prompts(orjson.dumps(sent), "a.json", LimitSettings())

    assert prompts_document(list(prompts.values())) == [sent]


def test_the_reason_for_an_invalid_header_is_short() -> None:
    header = b"9\0{'descr': '>f4'}" + b"\0" * 8_000

    with pytest.raises(ValueError, match="cannot be used") as refused:
        decode_mask_prompt(in_base64(b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header))

    assert len(str(refused.value)) < 300
