import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sampoll.core.jobs import LOW_RES_SIDE, Box, LowResMask, Point, Prompt
from sampoll.core.names import printable, unicode_name
from sampoll.core.results import BoolMask, Mask, PixelBox

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=20))


@given(masks)
def test_the_pixels_of_a_mask_are_those_it_was_made_of(pixels: BoolMask) -> None:
    assert np.array_equal(Mask.from_array(pixels, 0.5).pixels(), pixels)


@given(masks)
def test_the_box_of_a_mask_holds_all_its_pixels_and_no_more(pixels: BoolMask) -> None:
    box = Mask.from_array(pixels, 0.5).box

    if box is None:
        assert not pixels.any()
        return
    inside = pixels[box.top : box.bottom + 1, box.left : box.right + 1]
    assert inside.sum() == pixels.sum()
    assert inside[0].any()
    assert inside[-1].any()
    assert inside[:, 0].any()
    assert inside[:, -1].any()


@given(masks, st.data())
def test_a_compressed_mask_is_the_same_mask(pixels: BoolMask, data: st.DataObject) -> None:
    mask = Mask.from_array(pixels, 0.5)
    compressed = mask.compressed()

    assert (compressed.size, compressed.box, compressed.score) == (mask.size, mask.box, mask.score)
    assert np.array_equal(compressed.packed, mask.packed)
    assert np.array_equal(compressed.pixels(), pixels)
    assert compressed.area == mask.area
    left, right = sorted(data.draw(st.tuples(*[st.integers(0, pixels.shape[1] - 1)] * 2)))
    top, bottom = sorted(data.draw(st.tuples(*[st.integers(0, pixels.shape[0] - 1)] * 2)))
    box = PixelBox(left, top, right, bottom)
    assert np.array_equal(compressed.pixels_in(box), pixels[top : bottom + 1, left : right + 1])
    assert compressed.compressed() is compressed


def test_a_large_smooth_mask_takes_a_thirtieth_of_its_memory_once_compressed() -> None:
    rows, columns = np.ogrid[-750:750, -1000:1000]
    mask = Mask.from_array((rows / 700) ** 2 + (columns / 900) ** 2 < 1, 0.5)

    assert mask.nbytes == 1500 * 250
    assert 30 * mask.compressed().nbytes < mask.nbytes


def test_a_mask_that_is_changed_stays_compressed_if_it_was() -> None:
    pixels = np.zeros((50, 90), np.bool_)
    pixels[3:40, 5:80] = True
    mask = Mask.from_array(~pixels, 0.5)

    for before in (mask, mask.compressed()):
        after = before.with_pixels(pixels)
        assert np.array_equal(after.pixels(), pixels)
        assert after.score == 0.5
        assert isinstance(after.bits, bytes) == isinstance(before.bits, bytes)


def test_a_mask_prompt_gives_its_logits_back_and_takes_little_memory() -> None:
    logits = np.full((LOW_RES_SIDE, LOW_RES_SIDE), -10, np.float32)
    logits[50:90, 60:200] = 10
    tracemalloc.start()

    prompts = [LowResMask(b"", logits) for _ in range(20)]

    taken_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(np.array_equal(prompt.logits, logits) for prompt in prompts)
    assert taken_bytes < logits.nbytes


def test_a_single_pixel_has_a_box_of_itself() -> None:
    pixels = np.zeros((3, 4), np.bool_)
    pixels[1, 2] = True

    assert Mask.from_array(pixels, 1).box == PixelBox(2, 1, 2, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Point(float("nan"), 0, 1),
        lambda: Point(0, 0, 2),
        lambda: Box(5, 0, 5, 1),
        lambda: Box(0, 2, 1, 1),
        lambda: Box(0, 0, float("inf"), 1),
        lambda: Prompt(),
        lambda: Prompt(box=Box(0, 0, 1, 1), label=""),
        lambda: Mask.from_array(np.zeros((2, 2), np.uint8), 1),
        lambda: Mask.from_array(np.zeros((2, 2, 1), np.bool_), 1),
        lambda: Mask.from_array(np.zeros((2, 2), np.bool_), float("nan")),
        lambda: Mask(np.zeros((2, 2), np.uint8), (2, 17), None, 1),
    ],
)
def test_an_invalid_value_cannot_be_created(make: object) -> None:
    with pytest.raises(ValueError, match=r"must|needs"):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat 1 [final].jpg", "cat 1 [final].jpg"),
        ("Gänse 鹅.png", "Gänse 鹅.png"),
        ("a\nb\x1b[31m", r"a\nb\x1b[31m"),
        ("abc\u202egpj", r"abc\u202egpj"),
        ("caf\udce9", r"caf\xe9"),
    ],
)
def test_control_characters_in_names_are_escaped(name: str, expected: str) -> None:
    assert printable(name) == expected


def test_a_name_in_a_document_is_the_name_of_the_file_as_far_as_json_can_hold_it() -> None:
    assert unicode_name("at 10\u202fAM\n") == "at 10\u202fAM\n"
    assert unicode_name("caf\udce9") == "caf\\xe9"


@given(st.text(st.characters()))
def test_any_name_can_be_shown_and_encoded(name: str) -> None:
    shown = printable(name)

    assert shown.isprintable()
    shown.encode("utf-8")
