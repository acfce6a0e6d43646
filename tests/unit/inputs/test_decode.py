import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import ExifTags, Image, ImageOps
from support.images import encoded, image_of

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadImage, BadPrompt, OutOfMemory
from sampoll.inputs.decode import decode, decode_image, image_size
from sampoll.inputs.options import DecodingOptions
from sampoll.transports.memory import submission

BOXES_ONLY = DecodingOptions(
    model="boxes", prompt_kinds=("box",), models_that_take=lambda _: ("sam", "words")
)
LIMITS = DecodingOptions(LimitSettings(max_pixels=10_000, max_prompts=5))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_lossless_images_come_back_pixel_for_pixel(kind: str) -> None:
    image = image_of(7, 9)

    assert np.array_equal(decode_image(encoded(image, kind), "a", 10_000), image)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_images_come_back_nearly(kind: str) -> None:
    image = np.full((16, 16, 3), (200, 100, 50), np.uint8)

    decoded = decode_image(encoded(image, kind), "a", 10_000)

    assert np.abs(decoded.astype(int) - image).max() <= 6


PHOTOGRAPH = cv2.GaussianBlur(image_of(45, 67), (0, 0), 2)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "options", [{"quality": 90}, {"quality": 75, "progressive": True}, {"quality": 95, "subsampling": 0}]
)
def test_a_jpeg_has_the_pixels_that_pillow_reads(mode: str, options: dict[str, object]) -> None:
    content = saved(Image.fromarray(PHOTOGRAPH).convert(mode), "JPEG", **options)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("RGB"))

    assert np.array_equal(decode_image(content, "a", 10_000), expected)
    assert np.array_equal(decode_image(content + b"and more", "a", 10_000), expected)


@pytest.mark.parametrize("orientation", range(10))
def test_a_jpeg_stands_upright_whichever_way_it_was_stored(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    content = saved(Image.fromarray(PHOTOGRAPH), "JPEG", exif=exif)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))

    decoded = decode_image(content, "a", 10_000)

    assert np.array_equal(decoded, expected)
    assert decoded.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once_or_not_at_all(orientation: int) -> None:
    content = saved(Image.fromarray(PHOTOGRAPH), "TIFF", tiffinfo={ExifTags.Base.Orientation: orientation})
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    png = saved(Image.fromarray(PHOTOGRAPH), "PNG", exif=exif)

    upright, stored = decode_image(content, "a", 10_000), decode_image(content, "a", 10_000, "ignore")

    assert np.array_equal(upright, decode_image(png, "a", 10_000))
    assert np.array_equal(stored, PHOTOGRAPH)
    assert image_size(content) == upright.shape[:2]
    assert image_size(content, "ignore") == stored.shape[:2]


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1"])
def test_large_images_are_converted_in_bands_to_the_same_pixels(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.fromarray(PHOTOGRAPH).convert(mode)
    content = saved(image, "TIFF")
    whole = decode_image(content, "a", 10_000)

    monkeypatch.setattr("sampoll.inputs.image_files.rgb.BAND_PIXELS", 500)

    assert np.array_equal(decode_image(content, "a", 10_000), whole)
    assert np.array_equal(whole, np.asarray(image.convert("RGB")))


def test_pillow_decides_whether_an_odd_jpeg_is_an_image() -> None:
    content = saved(Image.fromarray(PHOTOGRAPH), "JPEG", quality=90)
    odd = content[:-2] + bytes(20) + content[-2:]  # bytes that belong to nothing, before the end
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(odd)
    assert np.array_equal(decode_image(odd, "a", 10_000), decode_image(content, "a", 10_000))

    with pytest.raises(BadImage, match="truncated"):
        decode_image(content[: len(content) // 2], "a", 10_000)


def test_an_image_stands_upright_before_anything_looks_at_it() -> None:
    image = np.zeros((4, 8, 3), np.uint8)
    image[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # stored rotated; viewers turn it by 90 degrees clockwise

    decoded = decode_image(encoded(image, "PNG", exif=exif), "a", 10_000)

    assert decoded.shape == (8, 4, 3)
    assert np.array_equal(np.argwhere(decoded[..., 0]), [[0, 3]])


def test_of_sixteen_bits_the_upper_eight_are_kept() -> None:
    gray = np.array([[0, 255, 256, 65535]], np.uint16)

    decoded = decode_image(saved(Image.fromarray(gray), "PNG"), "a", 10_000)

    assert decoded[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA"])
def test_other_modes_become_rgb(mode: str) -> None:
    image = Image.new("L", (3, 2), 255).convert(mode)

    decoded = decode_image(saved(image, "PNG"), "a", 10_000)

    assert decoded.tolist() == [[[255] * 3] * 3] * 2


@pytest.mark.parametrize(
    ("pixels", "kind"),
    [
        (np.full((2, 2), 70000, np.int32), "signed samples of 32 bits"),
        (np.full((2, 2), 0.5, np.float32), "floating-point samples of 32 bits"),
    ],
)
def test_32_bits_a_sample_are_refused_instead_of_clipped(pixels: np.ndarray, kind: str) -> None:
    with pytest.raises(BadImage, match=rf"a\.tif: has {kind}: convert it to unsigned 8 or 16 bits first"):
        decode_image(saved(Image.fromarray(pixels), "TIFF"), "a.tif", 10_000)


def test_too_little_memory_is_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> int:
        raise MemoryError

    monkeypatch.setattr("sampoll.inputs.decode.stored_pixels", no_memory)

    with pytest.raises(OutOfMemory, match=r"a\.png: not enough memory to decode it"):
        decode_image(encoded(image_of()), "a.png", 10_000)


def test_only_our_own_limit_of_pixels_counts() -> None:
    assert Image.MAX_IMAGE_PIXELS is None


def test_cmyk_becomes_rgb() -> None:
    decoded = decode_image(saved(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"), "a", 10_000)

    assert decoded.min() >= 250


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cat.jpg: is no image that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "cat.jpg: is no image that can be read"),
        (encoded(image_of(), "GIF"), "cat.jpg: is no image that can be read"),
        (encoded(image_of(64, 64), "JPEG")[:-400], "cat.jpg: is truncated, or damaged: "),
        (encoded(image_of(64, 64), "PNG")[:-400], "cat.jpg: is truncated"),
        (encoded(image_of(101, 100), "PNG"), "cat.jpg: is 100x101, more than 10000 pixels (--max-pixels)"),
    ],
    ids=["empty", "postscript", "gif", "truncated jpeg", "truncated png", "too large"],
)
def test_a_file_that_is_no_image_is_refused_and_named(content: bytes, message: str) -> None:
    with pytest.raises(BadImage) as caught:
        decode_image(content, "cat.jpg", 10_000)

    assert str(caught.value).startswith(message)


def test_a_header_with_a_wrong_size_is_refused_before_memory_is_allocated() -> None:
    content = bytearray(encoded(image_of(8, 8), "BMP"))
    content[18:26] = (60_000).to_bytes(4, "little") * 2

    with pytest.raises(BadImage, match=r"60000x60000|more than 10000 pixels"):
        decode_image(bytes(content), "a.bmp", 10_000)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (b'{"points": [{"x": 32, "y": 0, "label": 1}]}', r"a.json: points\[0\]: \(32, 0\) lies outside"),
        (b'{"points": [{"x": 0, "y": -0.5, "label": 1}]}', r"a.json: points\[0\]: .* image of 32x24 pixels"),
        (b'{"box": {"x0": 40, "y0": 0, "x1": 50, "y1": 5}}', "a.json: box: lies outside the image"),
        (
            b'{"prompts": [{"points": [{"x": 99, "y": 1, "label": 1}]}]}',
            r"prompts\[0\].points\[0\]: \(99, 1\)",
        ),
        (
            b'{"prompts": [{"box": {"x0": 1, "y0": 1, "x1": 2, "y1": 2}}, '
            b'{"points": [{"x": 99, "y": 1, "label": 1}]}]}',
            r"a.json: prompts\[1\].points\[0\]: \(99, 1\)",
        ),
    ],
)
def test_prompts_outside_the_image_are_refused(prompt: bytes, message: str) -> None:
    with pytest.raises(BadPrompt, match=message):
        decode(submission("a", encoded(image_of(24, 32)), prompt), LIMITS)


@pytest.mark.parametrize(
    "prompt",
    [
        b'{"points": [{"x": 31.99, "y": 23.99, "label": 1}, {"x": 0, "y": 0, "label": 0}]}',
        b'{"box": {"x0": -0.4, "y0": -3, "x1": 32, "y1": 24.5}}',
    ],
    ids=["points at the edges", "a box that reaches over them"],
)
def test_prompts_that_touch_the_edges_are_accepted(prompt: bytes) -> None:
    job = decode(submission("a", encoded(image_of(24, 32)), prompt), LIMITS)

    assert len(job.prompts) == 1


def test_a_job_has_the_identity_pixels_and_decoding_time_of_its_submission(tmp_path: Path) -> None:
    sent = submission("a", encoded(image_of(24, 32)), b'{"box": {"x0": 1, "y0": 1, "x1": 5, "y1": 5}}')

    job = decode(sent, LIMITS)

    assert isinstance(job.image, np.ndarray)
    assert (job.id, job.name, job.image_sha256) == (sent.id, "a", sent.image_sha256)
    assert job.image.shape == (24, 32, 3)
    assert job.image.flags.c_contiguous
    assert job.decoding_seconds > 0


BOX = '"box": {"x0": 1, "y0": 1, "x1": 5, "y1": 5}'


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        ('{"points": [{"x": 1, "y": 1, "label": 1}]}', "points"),
        ('{"everything": {}}', "everything"),
        (f'{{"prompts": [{{{BOX}}}, {{{BOX}, "refine": 2}}]}}', "prompts[1].refine"),
        ('{"text": "cat"}', "text"),
    ],
)
def test_what_the_model_does_not_take_is_refused_before_the_image_is_decoded(prompt: str, field: str) -> None:
    with pytest.raises(BadPrompt) as refused:
        decode(submission("a", b"no image", prompt.encode()), BOXES_ONLY)

    detector = ", or add --detector DIR" if field == "text" else ""
    assert str(refused.value) == (
        f"a.json: {field}: is not taken by --model boxes, which takes box only: "
        f"use a model that takes it, such as sam, words{detector} (`sampoll models list`)"
    )


def test_what_the_model_takes_is_decoded() -> None:
    job = decode(submission("a", encoded(image_of()), f"{{{BOX}}}".encode()), BOXES_ONLY)

    assert [prompt.kinds for prompt in job.prompts] == [("box",)]
