"""TIFF has hundreds of kinds of pixels: each becomes the colours that it stands for, or is refused for it."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import tiffs
from support.images import image_of
from support.tiffs import (
    BLACK_IS_ZERO,
    CMYK,
    DEFLATE,
    LAB,
    PACK_BITS,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    Layout,
    tiff,
)

from sampoll.core.errors import BadImage, BadPrompt
from sampoll.core.jobs import Exif
from sampoll.inputs.check import check_pair
from sampoll.inputs.decode import decode_image, image_size
from sampoll.inputs.options import DecodingOptions

PROMPT = b'{"box": {"x0": 1, "y0": 1, "x1": 3, "y1": 3}}'
LAYOUTS = {
    "plain": Layout(),
    "big-endian": Layout(order=">"),
    "compressed": Layout(compression=DEFLATE),
    "big-endian and compressed": Layout(order=">", compression=DEFLATE),
    "run lengths in strips": Layout(compression=PACK_BITS, rows_per_strip=3),
    "tiles": Layout(tile=(16, 16)),
    "compressed tiles": Layout(tile=(16, 32), compression=DEFLATE),
    "planes": Layout(separate=True),
    "planes in strips": Layout(separate=True, rows_per_strip=7, compression=DEFLATE, order=">"),
    "planes in tiles": Layout(separate=True, tile=(16, 16)),
    "reversed bits": Layout(reversed_bits=True),
    "reversed bits, compressed": Layout(reversed_bits=True, compression=DEFLATE),
    "BigTIFF": Layout(is_big=True),
    "big-endian BigTIFF": Layout(is_big=True, order=">", rows_per_strip=5),
}
DIFFERENCES = {
    "strips": Layout(differences=True, compression=DEFLATE, rows_per_strip=4),
    "big-endian": Layout(differences=True, compression=DEFLATE, order=">"),
    "tiles": Layout(differences=True, compression=DEFLATE, tile=(16, 16)),
    "planes": Layout(differences=True, compression=DEFLATE, separate=True),
}


def numbers(bits: int, samples: int) -> NDArray[np.int64]:
    return np.random.default_rng(bits).integers(0, 2**bits, (20, 37, samples))


def in_8_bits(samples: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    return samples >> (bits - 8) if bits >= 8 else samples * 255 // (2**bits - 1)


def decoded(content: bytes) -> NDArray[np.uint8]:
    return decode_image(content, "a.tif", 10**6)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16])
def test_samples_of_any_number_of_bits_become_8_bits(layout: Layout, bits: int) -> None:
    layout = replace(layout, bits=bits)
    gray, colours = numbers(bits, 1), numbers(bits, 3)

    assert np.array_equal(decoded(tiff(gray, BLACK_IS_ZERO, layout)), in_8_bits(gray, bits).repeat(3, 2))
    assert np.array_equal(
        decoded(tiff(gray, WHITE_IS_ZERO, layout)), 255 - in_8_bits(gray, bits).repeat(3, 2)
    )
    assert np.array_equal(decoded(tiff(colours, RGB, layout)), in_8_bits(colours, bits))


@pytest.mark.parametrize("layout", DIFFERENCES.values(), ids=DIFFERENCES.keys())
@pytest.mark.parametrize("bits", [8, 16])
def test_differences_between_neighbours_are_added_up(layout: Layout, bits: int) -> None:
    colours = numbers(bits, 3)

    content = tiff(colours, RGB, replace(layout, bits=bits))

    assert np.array_equal(decoded(content), in_8_bits(colours, bits))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("more", [1, 2, 5])
@pytest.mark.parametrize("separate", [False, True])
def test_channels_beside_the_colours_are_dropped(bits: int, more: int, separate: bool) -> None:
    samples = numbers(bits, 3 + more)
    layout = Layout(bits, separate=separate)

    for kind in (None, [0] * more, [2, *[0] * (more - 1)]):
        tags: dict[int, tiffs.Tag] = {tiffs.EXTRA_SAMPLES: (tiffs.SHORT, kind)}
        content = tiff(samples, RGB, replace(layout, tags=tags))
        assert np.array_equal(decoded(content), in_8_bits(samples, bits)[..., :3])


@pytest.mark.parametrize("separate", [False, True])
def test_colours_that_were_multiplied_by_alpha_are_divided_by_it(separate: bool) -> None:
    tags: dict[int, tiffs.Tag] = {tiffs.EXTRA_SAMPLES: (tiffs.SHORT, [1])}
    layout = Layout(separate=separate, tags=tags)

    colours = decoded(tiff([[[100, 50, 0, 128], [10, 20, 30, 255], [7, 7, 7, 0]]], RGB, layout))
    gray = decoded(tiff([[[100, 128], [10, 255]]], BLACK_IS_ZERO, layout))

    assert colours[0, :2].tolist() == [[199, 99, 0], [10, 20, 30]]
    assert gray[0].tolist() == [[199] * 3, [10] * 3]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("scale", [257, 1], ids=["16 bits", "8 bits, which is wrong"])
def test_a_palette_gives_its_colours(bits: int, scale: int) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (3, 2**bits))
    colours[0, 0] = 255
    tags: dict[int, tiffs.Tag] = {tiffs.COLOUR_MAP: (tiffs.SHORT, (colours * scale).ravel().tolist())}
    samples = numbers(bits, 1)

    content = tiff(samples, PALETTE, Layout(bits, tags=tags))

    assert np.array_equal(decoded(content), colours.T[samples[..., 0]])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("separate", [False, True])
def test_other_colours_become_rgb(bits: int, separate: bool) -> None:
    layout, scale = Layout(bits, separate=separate), 257 if bits == 16 else 1
    red = {
        CMYK: [0, 255, 255, 0],
        YCBCR: [76, 85, 255],
        LAB: [136, 81, 70],
    }

    for photometric, samples in red.items():
        content = tiff(np.full((4, 4, len(samples)), samples) * scale, photometric, layout)
        assert decoded(content).reshape(-1, 3).astype(int) == pytest.approx(
            np.array([[253, 1, 2]] * 16), abs=5
        )


KINDS = {
    "float": (
        Layout(32, tags={tiffs.SAMPLE_FORMAT: (3, [3])}),
        1,
        1,
        "has floating-point samples of 32 bits",
    ),
    "half": (Layout(16, tags={tiffs.SAMPLE_FORMAT: (3, [3])}), 1, 1, "has floating-point samples of 16 bits"),
    "float RGB": (
        Layout(32, tags={tiffs.SAMPLE_FORMAT: (3, [3] * 3)}),
        3,
        2,
        "has floating-point samples of",
    ),
    "signed": (Layout(16, tags={tiffs.SAMPLE_FORMAT: (3, [2])}), 1, 1, "has signed samples of 16 bits"),
    "signed bytes": (Layout(8, tags={tiffs.SAMPLE_FORMAT: (3, [2])}), 1, 1, "has signed samples of 8 bits"),
    "complex": (Layout(32, tags={tiffs.SAMPLE_FORMAT: (3, [6])}), 1, 1, "has complex samples of 32 bits"),
    "32 bits": (Layout(32), 1, 1, "has samples of 32 bits: convert it to unsigned 8 or 16 bits first"),
    "32 bits RGB": (Layout(32), 3, 2, "has samples of 32 bits: convert it to unsigned 8 or 16 bits first"),
    "unequal": (Layout(tags={tiffs.BITS: (3, [8, 8, 16])}), 3, 2, "has channels of 8, 8, 16 bits"),
    "bands": (Layout(), 5, 1, "has 5 channels of gray: save three of them as RGB, or one as gray"),
    "bands of 16 bits": (Layout(16), 3, 1, "has 3 channels of gray"),
    "many bands": (Layout(), 12, 2, "has 12 channels, more than 8: save three of them as RGB"),
    "two colours": (Layout(), 2, 2, "is damaged: its colours need 3 channels, and it has 2"),
    "no palette": (Layout(), 1, 3, "is damaged: its palette has 0 values, not 768"),
    "raw": (Layout(16), 1, 32803, "has the TIFF photometric interpretation 32803, which is not read here"),
    "inks": (Layout(tags={tiffs.INK_SET: (3, [2])}), 4, 5, "has inks other than CMYK"),
    "subsampled": (
        Layout(tags={tiffs.SUBSAMPLING: (3, [2, 2])}),
        3,
        6,
        "has subsampled YCbCr colours without",
    ),
    "JPEG 2000": (Layout(compression=34712), 1, 1, "has the TIFF compression 34712, which is not read here"),
    "differences of 12 bits": (
        Layout(12, compression=DEFLATE, differences=True),
        1,
        1,
        "has the TIFF predictor 2",
    ),
}


@pytest.mark.parametrize(("layout", "samples", "photometric", "message"), KINDS.values(), ids=KINDS.keys())
def test_a_kind_that_is_not_decoded_is_refused_for_what_it_is(
    layout: Layout, samples: int, photometric: int, message: str
) -> None:
    content = tiff(np.zeros((4, 4, samples), int), photometric, layout)

    with pytest.raises(BadImage, match=rf"a\.tif: {message}"):
        decoded(content)


def test_a_check_refuses_the_same_kinds_without_decoding() -> None:
    layout, samples, photometric, message = KINDS["float RGB"]
    content = tiff(np.zeros((4, 4, samples), int), photometric, layout)

    with pytest.raises(BadImage, match=rf"a\.tif: {message}"):
        check_pair(PROMPT, "a.json", content, "a.tif", DecodingOptions())


@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_a_check_takes_the_points_that_a_run_takes(exif: Exif) -> None:
    content = tiff(numbers(8, 3), RGB, Layout(tags={tiffs.ORIENTATION: (tiffs.SHORT, [6])}))
    prompt = b'{"points": [{"x": 19, "y": 36, "label": 1}]}'  # of 20 x 37 upright, 37 x 20 as stored
    options = DecodingOptions(exif=exif)

    if exif == "apply":
        assert check_pair(prompt, "a.json", content, "a.tif", options)
    else:
        with pytest.raises(BadPrompt, match="outside the image of 37x20 pixels"):
            check_pair(prompt, "a.json", content, "a.tif", options)


def test_limits_name_the_size_of_the_upright_image() -> None:
    content = tiff(numbers(8, 3), RGB, Layout(tags={tiffs.ORIENTATION: (tiffs.SHORT, [6])}))

    with pytest.raises(BadImage, match="is 20x37, more than 99 pixels"):
        decode_image(content, "a.tif", 99)
    with pytest.raises(BadImage, match="is 37x20, more than 99 pixels"):
        decode_image(content, "a.tif", 99, "ignore")


def test_samples_of_unknown_format_are_numbers_without_sign() -> None:
    layout = Layout(tags={tiffs.SAMPLE_FORMAT: (tiffs.SHORT, [4])})

    assert decoded(tiff([[[0], [255]]], BLACK_IS_ZERO, layout))[0, :, 0].tolist() == [0, 255]


def test_12_bits_in_samples_of_16_are_16_bits_as_the_file_says() -> None:
    layout = Layout(16, tags={281: (tiffs.SHORT, [4095])})  # "not to be used to affect the visual appearance"

    assert decoded(tiff([[[0], [4095]]], BLACK_IS_ZERO, layout))[0, :, 0].tolist() == [0, 15]


MISSING = {"counts": 279, "rows per strip": 278, "channels": tiffs.SAMPLES, "photometric": tiffs.PHOTOMETRIC}


@pytest.mark.parametrize("tag", MISSING.values(), ids=MISSING.keys())
def test_a_missing_tag_has_its_usual_value(tag: int) -> None:
    samples = numbers(8, 3)

    assert np.array_equal(decoded(tiff(samples, RGB, Layout(tags={tag: (tiffs.LONG, None)}))), samples)


@pytest.mark.parametrize("tag", [273, 324])
def test_a_page_with_too_few_strips_or_tiles_is_damaged(tag: int) -> None:
    layout = Layout(tile=(16, 16) if tag == 324 else None, rows_per_strip=4, tags={tag: (tiffs.LONG, [200])})

    with pytest.raises(BadImage, match=r"is damaged: its pixels are in [56] strips or tiles, and it has 1"):
        decoded(tiff(numbers(8, 3), RGB, layout))


@pytest.mark.parametrize("missing", [1, 50, 300])
@pytest.mark.parametrize(
    "layout",
    [
        Layout(),
        Layout(rows_per_strip=3),
        Layout(tile=(16, 16)),
        Layout(separate=True),
        Layout(compression=DEFLATE),
        Layout(compression=PACK_BITS, rows_per_strip=3),
        Layout(compression=DEFLATE, tile=(16, 16), separate=True),
    ],
)
def test_a_file_whose_last_samples_are_missing_is_refused(layout: Layout, missing: int) -> None:
    content = tiff(numbers(8, 3), RGB, layout)

    with pytest.raises(BadImage, match=r"a\.tif: is truncated"):
        decoded(content[:-missing])


def test_the_last_strip_may_claim_the_length_of_a_whole_one() -> None:
    samples, layout = numbers(8, 3), Layout(rows_per_strip=16)
    lengths = tiffs.LONG, [16 * 37 * 3] * 2

    content = tiff(samples, RGB, replace(layout, tags={279: lengths}))

    assert np.array_equal(decoded(content), samples)


ORIENTATIONS = {
    "SHORT": ((tiffs.SHORT, [6]), 6),
    "LONG": ((tiffs.LONG, [6]), 6),
    "BYTE": ((tiffs.BYTE, [6]), 6),
    "signed": ((tiffs.SIGNED_SHORT, [6]), 6),
    "text": ((tiffs.ASCII, b"6\0"), 1),
    "bytes of unknown type": ((tiffs.UNDEFINED, b"\6"), 1),
    "a fraction": ((tiffs.FRACTION, b"\6\0\0\0\1\0\0\0"), 1),
    "a double": ((tiffs.DOUBLE, [6.0]), 1),
    "two": ((tiffs.SHORT, [6, 6]), 1),
    "none": ((tiffs.SHORT, []), 1),
    "0": ((tiffs.SHORT, [0]), 1),
    "9": ((tiffs.SHORT, [9]), 1),
    "negative": ((tiffs.SIGNED_SHORT, [-6]), 1),
}


@pytest.mark.parametrize(("tag", "orientation"), ORIENTATIONS.values(), ids=ORIENTATIONS.keys())
@pytest.mark.parametrize("layout", [Layout(), Layout(order=">", compression=DEFLATE), Layout(16)])
def test_an_orientation_of_any_whole_number_counts(layout: Layout, tag: tiffs.Tag, orientation: int) -> None:
    samples = numbers(layout.bits, 3)

    content = tiff(samples, RGB, replace(layout, tags={tiffs.ORIENTATION: tag}))

    stored = in_8_bits(samples, layout.bits)
    expected = np.rot90(stored, -1) if orientation == 6 else stored
    assert np.array_equal(decoded(content), expected)
    assert image_size(content) == expected.shape[:2]
    assert np.array_equal(decode_image(content, "a", 10**6, "ignore"), stored)
    assert image_size(content, "ignore") == stored.shape[:2]


def test_xmp_turns_no_tiff() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    samples = numbers(8, 3)

    assert np.array_equal(decoded(tiff(samples, RGB, Layout(tags={tiffs.XMP: (tiffs.BYTE, xmp)}))), samples)


SUBFILE, OLD_SUBFILE = 254, 255


def with_more(content: bytes, *kinds: tuple[int, int]) -> bytes:
    """The TIFF with smaller directories behind its own, of these tags and values."""
    gray, layout = np.zeros((2, 2, 1), int), Layout()
    pages = [(SUBFILE, 0), *kinds]
    whole = bytearray(content)
    [last] = [8 + 2 + 12 * int.from_bytes(content[8:10], "little")]
    for tag, value in pages[1:]:
        page = tiff(gray, BLACK_IS_ZERO, replace(layout, tags={tag: (tiffs.SHORT, [value])}))
        number = int.from_bytes(page[8:10], "little")
        whole[last : last + 4] = len(whole).to_bytes(4, "little")
        last = len(whole) + 2 + 12 * number
        whole += page[8 : 8 + 2 + 12 * number] + bytes(4)
    return bytes(whole)


PARTS = {
    "overviews": [(SUBFILE, 1), (SUBFILE, 1)],
    "a mask": [(SUBFILE, 4)],
    "a mask and an overview of it": [(SUBFILE, 4), (SUBFILE, 5)],
    "an overview, as it was told before": [(OLD_SUBFILE, 2)],
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS.keys())
def test_overviews_and_masks_are_no_pages(parts: list[tuple[int, int]]) -> None:
    samples = numbers(8, 3)

    assert np.array_equal(decoded(with_more(tiff(samples, RGB, Layout()), *parts)), samples)


def test_a_thumbnail_before_the_image_is_no_page() -> None:
    thumbnail = {SUBFILE: (tiffs.LONG, [1]), tiffs.ORIENTATION: (tiffs.SHORT, [6])}

    content = with_more(tiff(numbers(8, 3), RGB, Layout(tags=thumbnail)), (SUBFILE, 0))

    assert image_size(content) == (2, 2)


@pytest.mark.parametrize("kind", [0, 2])
def test_pages_of_one_rank_are_counted_without_their_overviews(kind: int) -> None:
    content = with_more(tiff(numbers(8, 3), RGB, Layout()), (SUBFILE, 1), (SUBFILE, kind), (SUBFILE, 1))

    with pytest.raises(BadImage, match="has 2 pages"):
        decoded(content)


@pytest.mark.parametrize("compression", ["jpeg", "group3", "group4", "tiff_lzw"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_what_other_programs_compress_is_decoded_and_turned_once(compression: str, orientation: int) -> None:
    image = Image.fromarray(cv2.GaussianBlur(image_of(40, 64), (0, 0), 3))
    if compression.startswith("group"):
        image = image.convert("1")
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", compression=compression, tiffinfo={tiffs.ORIENTATION: orientation})

    pixels = decoded(buffer.getvalue())

    expected = np.asarray(image.convert("RGB"))
    difference = pixels.astype(int) - (np.rot90(expected, -1) if orientation == 6 else expected)
    assert np.abs(difference).max() <= (8 if compression == "jpeg" else 0)


def test_odd_values_of_tags_that_do_not_matter_do_not_matter() -> None:
    odd: dict[int, tiffs.Tag] = dict.fromkeys((270, 282, 296, 305, 700, 34665, 34675), (99, b"garbage!" * 9))

    samples = numbers(8, 3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tiffs._SIZES, 99, 1)
        content = tiff(samples, RGB, Layout(tags=odd))
    assert np.array_equal(decoded(content), samples)
