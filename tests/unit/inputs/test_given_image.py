import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.images import encoded, image_of, turned_image

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadImage
from sampoll.inputs.decode import decode_image
from sampoll.inputs.given_image import given_image
from sampoll.inputs.options import DecodingOptions

OPTIONS = DecodingOptions(LimitSettings(max_pixels=1000, max_image_bytes=10_000))


def test_an_array_is_taken_as_it_is_and_may_be_changed_afterwards() -> None:
    array = image_of(20, 30)
    before = array.copy()

    given = given_image(array, OPTIONS)
    array[:] = 0

    assert given.pixels is not None
    assert np.array_equal(given.pixels, before)
    assert (given.content, given.file, given.name, given.shown) == (b"", "", "image", "image")


def test_any_strides_are_taken_and_equal_pixels_have_one_digest() -> None:
    array = image_of(20, 30)
    mirrored = np.ascontiguousarray(array[:, ::-1])

    assert given_image(array[:, ::-1], OPTIONS).sha256 == given_image(mirrored, OPTIONS).sha256
    assert given_image(array, OPTIONS).sha256 != given_image(mirrored, OPTIONS).sha256


def test_the_size_counts_for_the_digest() -> None:
    assert (
        given_image(np.zeros((2, 8, 3), np.uint8), OPTIONS).sha256
        != given_image(np.zeros((4, 4, 3), np.uint8), OPTIONS).sha256
    )


def test_a_gray_array_has_three_equal_channels() -> None:
    gray = image_of(20, 30)[:, :, 0]

    pixels = given_image(gray, OPTIONS).pixels

    assert pixels is not None
    assert np.array_equal(pixels, np.dstack([gray] * 3))
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5, 3)), "must be of uint8, 0 to 255, and is float64 of shape (4, 5, 3)"),
        (np.zeros((4, 5), bool), "must be of uint8, 0 to 255, and is bool of shape (4, 5)"),
        (np.zeros((4, 5), np.uint16), "must be of uint8, 0 to 255, and is uint16 of shape (4, 5)"),
        (
            np.zeros((4, 5, 4), np.uint8),
            "must be RGB without alpha: image[:, :, :3], and is uint8 of shape (4, 5, 4)",
        ),
        (
            np.zeros((3, 4, 5), np.uint8),
            "must have the shape (H, W, 3), RGB, or (H, W), gray, and is uint8 of shape (3, 4, 5)",
        ),
        (
            np.zeros((1, 4, 5, 3), np.uint8),
            "must have the shape (H, W, 3), RGB, or (H, W), gray, and is uint8 of shape (1, 4, 5, 3)",
        ),
        (np.zeros((0, 5), np.uint8), "must have pixels, and is uint8 of shape (0, 5)"),
        (np.zeros((50, 40), np.uint8), "is 40x50, more than 1000 pixels (--max-pixels)"),
        (Image.new("L", (40, 50)), "is 40x50, more than 1000 pixels (--max-pixels)"),
        (Image.new("RGB", (0, 5)), "must have pixels, and is 0x5"),
        (Image.new("I", (4, 5)), "must have 8 or 16 bits a channel, without sign, and has 32: its mode is I"),
        (Image.new("F", (4, 5)), "must have 8 or 16 bits a channel, without sign, and has 32: its mode is F"),
        ([[1, 2]], "must be an array, a path, bytes or an image of Pillow, and is list"),
        (None, "must be an array, a path, bytes or an image of Pillow, and is NoneType"),
    ],
)
def test_what_is_no_image_is_refused_with_what_it_is(image: Any, message: str) -> None:
    with pytest.raises(BadImage) as refused:
        given_image(image, OPTIONS)

    assert str(refused.value) == f"image: {message}"


def test_a_subclass_of_array_has_its_pixels() -> None:
    gray = image_of(20, 30)[:, :, 0]

    pixels = given_image(np.asmatrix(gray), OPTIONS).pixels

    assert pixels is not None
    assert np.array_equal(pixels, np.dstack([gray] * 3))


def test_premultiplied_gray_of_pillow_is_divided_by_its_alpha() -> None:
    gray = Image.merge("LA", (Image.new("L", (3, 2), 120), Image.new("L", (3, 2), 128)))

    pixels = given_image(gray.convert("La"), OPTIONS).pixels

    assert pixels is not None
    assert np.abs(pixels.astype(int) - 120).max() <= 1


def test_a_path_may_be_bytes(tmp_path: Path) -> None:
    class BytesPath:
        def __fspath__(self) -> bytes:
            return os.fsencode(tmp_path) + b"/\xff.png"

    with pytest.raises(BadImage, match=r"\\xff\.png: cannot be read: No such file"):
        given_image(BytesPath(), OPTIONS)
    Path(os.fsdecode(BytesPath())).write_bytes(encoded(image_of(), "PNG"))
    assert given_image(BytesPath(), OPTIONS).name == "\udcff"


def test_a_path_gives_the_file_with_its_name(tmp_path: Path) -> None:
    content = encoded(image_of(), "JPEG")
    path = tmp_path / "cat.photo.JPG"
    path.write_bytes(content)

    for argument in (path, str(path)):
        given = given_image(argument, OPTIONS)
        assert (given.name, given.file, given.shown) == ("cat.photo", "cat.photo.JPG", str(path))
        assert (given.content, given.pixels, given.bytes) == (content, None, len(content))


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(bytes(10_001))

    with pytest.raises(BadImage, match=r"none.png: cannot be read: No such file"):
        given_image(tmp_path / "none.png", OPTIONS)
    with pytest.raises(BadImage, match=r"has more than 10000 bytes \(--max-image-bytes\)"):
        given_image(large, OPTIONS)


def test_what_is_no_file_is_refused_at_once_and_a_link_is_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.png").symlink_to(tmp_path / "image.png")
    (tmp_path / "image.png").write_bytes(encoded(image_of(), "PNG"))

    for path in (tmp_path / "pipe.jpg", tmp_path, "/dev/zero"):
        with pytest.raises(BadImage, match=r"cannot be read: [iI]s (not a regular file|a directory)"):
            given_image(path, OPTIONS)
    with pytest.raises(BadImage, match="image: must not contain the character NUL"):
        given_image("a\0.jpg", OPTIONS)
    assert given_image(tmp_path / "link.png", OPTIONS).name == "link"


def test_a_relative_path_is_kept_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "image.png").write_bytes(encoded(image_of(), "PNG"))
    monkeypatch.chdir(tmp_path)

    given = given_image("image.png", OPTIONS)

    assert (given.path, given.shown) == (tmp_path / "image.png", "image.png")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_content_of_a_file_is_taken_as_any_bytes(kind: Any) -> None:
    content = encoded(image_of(), "PNG")

    assert given_image(kind(content), OPTIONS).content == content


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "I;16"])
def test_an_image_of_pillow_has_the_pixels_of_its_file(mode: str, tmp_path: Path) -> None:
    if mode == "I;16":
        image = Image.fromarray(image_of(20, 30)[:, :, 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(image_of(20, 30)).convert(mode)
    path = tmp_path / "image.tif"
    image.save(path)

    pixels = given_image(image, OPTIONS).pixels

    assert pixels is not None
    assert np.array_equal(pixels, decode_image(path.read_bytes(), "a", 1000))


@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_an_image_of_pillow_is_upright_if_the_settings_say_so(exif: Any, tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    path.write_bytes(turned_image())

    with Image.open(path) as image:
        pixels = given_image(image, replace(OPTIONS, exif=exif)).pixels

    assert pixels is not None
    assert pixels.shape == decode_image(path.read_bytes(), "a", 1000, exif).shape


def test_a_damaged_file_that_pillow_opened_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(encoded(image_of(20, 30), "PNG")[:-700])

    with Image.open(path) as image, pytest.raises(BadImage, match="image: cannot be decoded"):
        given_image(image, OPTIONS)
