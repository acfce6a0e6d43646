"""Images of every kind, written byte by byte or by another library, and the pixels that they must become."""

import hashlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image
from support.tiffs import BLACK_IS_ZERO, WHITE_IS_ZERO, Layout, tiff

from sampoll.core.errors import BadImage
from sampoll.inputs.decode import PIXEL_RULES, decode_image

GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6


def png(width: int, bit_depth: int, colour: int, rows: list[bytes], **chunks: bytes) -> bytes:
    """A PNG whose rows are given as they are stored, with further chunks before them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, len(rows), bit_depth, colour, 0, 0, 0)
    more = b"".join(chunk(kind.encode(), content) for kind, content in chunks.items())
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def big_endian(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


RED, GREEN, BLUE, BLACK, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0], [255, 255, 255]
COLOURS = bytes([*RED, *GREEN, *BLUE, *WHITE])

GOLDEN = {
    "1 bit": (png(8, 1, GRAY, [b"\x81"]), [WHITE, *[BLACK] * 6, WHITE]),
    "4 bits": (png(2, 4, GRAY, [b"\x0f"]), [BLACK, WHITE]),
    "8 bits": (png(3, 8, GRAY, [bytes([0, 7, 255])]), [BLACK, [7] * 3, WHITE]),
    "16 bits": (
        png(5, 16, GRAY, [big_endian(0, 255, 256, 0x7FFF, 65535)]),
        [BLACK, BLACK, [1] * 3, [127] * 3, WHITE],
    ),
    "RGB": (png(2, 8, RGB, [bytes([1, 2, 3, 4, 5, 6])]), [[1, 2, 3], [4, 5, 6]]),
    "RGB of 16 bits": (png(1, 16, RGB, [big_endian(255, 256, 65535)]), [[0, 1, 255]]),
    "palette": (png(3, 8, PALETTE, [bytes([2, 0, 3])], PLTE=COLOURS), [BLUE, RED, WHITE]),
    "palette of 2 bits": (png(4, 2, PALETTE, [b"\x1b"], PLTE=COLOURS), [RED, GREEN, BLUE, WHITE]),
    "palette with a transparent colour": (
        png(2, 8, PALETTE, [bytes([1, 0])], PLTE=COLOURS, tRNS=b"\xff\x00"),
        [GREEN, RED],
    ),
    "a transparent colour": (
        png(2, 8, RGB, [bytes([*RED, *GREEN])], tRNS=big_endian(255, 0, 0)),
        [RED, GREEN],
    ),
    "alpha": (png(2, 8, RGB_ALPHA, [bytes([9, 8, 7, 0, 9, 8, 7, 255])]), [[9, 8, 7], [9, 8, 7]]),
    "alpha of 16 bits": (png(1, 16, RGB_ALPHA, [big_endian(256, 512, 768, 0)]), [[1, 2, 3]]),
    "gray with alpha": (png(2, 8, GRAY_ALPHA, [bytes([5, 0, 6, 255])]), [[5] * 3, [6] * 3]),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_png_becomes_the_pixels_that_the_rules_say(name: str) -> None:
    content, pixels = GOLDEN[name]

    assert decode_image(content, "golden.png", 100).tolist() == [pixels]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_of_a_tiff_with_16_bits_the_upper_8_are_kept(channels: int) -> None:
    values = np.arange(4 * channels, dtype=np.uint16).reshape(1, 4, channels) * 4000 + 255
    stored = values if channels == 1 else values[..., [2, 1, 0, *range(3, channels)]]  # OpenCV's order
    content = cv2.imencode(".tiff", stored)[1].tobytes()

    expected = np.repeat(values, 3, axis=2) if channels == 1 else values[..., :3]
    assert np.array_equal(decode_image(content, "golden.tiff", 100), expected >> 8)


def test_cmyk_becomes_rgb_by_the_plain_formula() -> None:
    inks = [(255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255), (0, 0, 0, 0), (100, 50, 0, 51)]
    buffer = io.BytesIO()
    Image.frombytes("CMYK", (len(inks), 1), bytes(np.ravel(inks).tolist())).save(buffer, "TIFF")

    pixels = decode_image(buffer.getvalue(), "golden.tiff", 100)[0].tolist()

    assert pixels[:5] == [[0, 255, 255], [255, 0, 255], [255, 255, 0], BLACK, WHITE]
    assert pixels[5] == pytest.approx([(255 - ink) * (255 - 51) / 255 for ink in (100, 50, 0)], abs=1)


def test_a_cmyk_jpeg_with_inverted_inks_as_adobe_writes_it_is_not_shown_as_a_negative() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=100)
    assert b"Adobe" in buffer.getvalue()

    assert np.abs(decode_image(buffer.getvalue(), "golden.jpg", 999).astype(int) - RED).max() <= 2


def bmp(
    bits: int, pixels: list[int], masks: tuple[int, ...], *, header_bytes: int = 40, height: int = 1
) -> bytes:
    """A BMP of a line of pixels, or of two of one pixel each, with masks of their channels."""
    kind = "<H" if bits == 16 else "<I"
    stored = [b"".join(struct.pack(kind, pixel) for pixel in pixels)]
    if height != 1:
        stored = [struct.pack(kind, pixel) for pixel in pixels]
    data = b"".join(line.ljust(-(-len(line) // 4) * 4, b"\0") for line in stored)
    width = len(pixels) if height == 1 else 1
    header = struct.pack("<IiiHHIIiiII", header_bytes, width, height, 1, bits, 3, len(data), 0, 0, 0, 0)
    header = (header + struct.pack(f"<{len(masks)}I", *masks)).ljust(
        max(header_bytes, 40 + 4 * len(masks)), b"\0"
    )
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(data), 0, 0, 14 + len(header)) + header + data


MASKS = {
    "565": (16, (0xF800, 0x7E0, 0x1F)),
    "555": (16, (0x7C00, 0x3E0, 0x1F)),
    "4444": (16, (0xF00, 0xF0, 0xF)),
    "RGB": (32, (0xFF0000, 0xFF00, 0xFF)),
    "BGR": (32, (0xFF, 0xFF00, 0xFF0000)),
    "RGBX": (32, (0xFF000000, 0xFF0000, 0xFF00)),
    "10 bits": (32, (0x3FF00000, 0xFFC00, 0x3FF)),
}


@pytest.mark.parametrize(("bits", "masks"), MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize("header_bytes", [40, 52, 108, 124])
def test_masks_tell_the_channels_of_a_bmp(bits: int, masks: tuple[int, int, int], header_bytes: int) -> None:
    content = bmp(bits, [*masks, 0, sum(masks)], masks, header_bytes=header_bytes)

    assert decode_image(content, "golden.bmp", 100).tolist() == [[RED, GREEN, BLUE, BLACK, WHITE]]


@pytest.mark.parametrize(("height", "lines"), [(2, [[GREEN], [RED]]), (-2, [[RED], [GREEN]])])
def test_the_lines_of_a_bmp_have_either_order(height: int, lines: list[list[list[int]]]) -> None:
    masks = (0xF800, 0x7E0, 0x1F)

    assert decode_image(bmp(16, [0xF800, 0x7E0], masks, height=height), "golden.bmp", 100).tolist() == lines


def test_a_bmp_with_impossible_masks_or_without_its_end_is_refused() -> None:
    with pytest.raises(BadImage, match="is damaged: 0x505 is no mask of a channel"):
        decode_image(bmp(16, [0], (0x505, 0x7E0, 0x1F)), "golden.bmp", 100)
    with pytest.raises(BadImage, match="is damaged: 0xf0000 is no mask of a channel"):
        decode_image(bmp(16, [0], (0xF0000, 0x7E0, 0x1F)), "golden.bmp", 100)
    with pytest.raises(BadImage, match=r"golden\.bmp: is truncated"):
        decode_image(bmp(32, [0, 0], (0xFF, 0xFF00, 0xFF0000))[:-1], "golden.bmp", 100)


def pages(kind: str, count: int = 3) -> bytes:
    several = [Image.new("RGB", (4, 3), (60 * number, 0, 0)) for number in range(count)]
    buffer = io.BytesIO()
    several[0].save(buffer, kind, save_all=True, append_images=several[1:])
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "PNG"])
def test_several_pages_are_refused(kind: str) -> None:
    with pytest.raises(BadImage, match=r"^scan: has 3 pages: save each as an image of its own$"):
        decode_image(pages(kind), "scan", 100)


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "PNG"])
def test_one_page_is_an_image(kind: str) -> None:
    assert decode_image(pages(kind, 1), "scan", 100).shape == (3, 4, 3)


def test_of_a_phones_jpeg_with_more_pictures_the_first_is_the_image() -> None:
    content = pages("MPO")
    assert content.startswith(b"\xff\xd8")

    assert decode_image(content, "phone.jpg", 100).max() <= 2


def upright(orientation: int) -> NDArray[np.uint8]:
    """What an image whose first row is red, green, and whose second is blue, white becomes."""
    image = Image.frombytes("RGB", (2, 2), COLOURS)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    return decode_image(buffer.getvalue(), "turned.png", 100)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[RED, GREEN], [BLUE, WHITE]]),
        (2, [[GREEN, RED], [WHITE, BLUE]]),
        (3, [[WHITE, BLUE], [GREEN, RED]]),
        (4, [[BLUE, WHITE], [RED, GREEN]]),
        (5, [[RED, BLUE], [GREEN, WHITE]]),
        (6, [[BLUE, RED], [WHITE, GREEN]]),
        (7, [[WHITE, GREEN], [BLUE, RED]]),
        (8, [[GREEN, WHITE], [RED, BLUE]]),
    ],
)
def test_an_orientation_turns_and_mirrors_as_exif_defines_it(
    orientation: int, expected: list[list[list[int]]]
) -> None:
    assert upright(orientation).tolist() == expected


WATCHED = ("4 bits", "16 bits", "RGB of 16 bits", "palette with a transparent colour", "alpha of 16 bits")
DIGEST_BY_RULES = {2: "e06ca6c3c68b6586"}
"""The digest of the pixels of these images, by the version of the rules of decoding."""


def test_the_version_of_the_rules_is_increased_when_pixels_change() -> None:
    """Otherwise embeddings that were kept of the old pixels would be used for the new ones."""
    pixels = [decode_image(GOLDEN[name][0], name, 100) for name in WATCHED]
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    for kind in ("PNG", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3)).save(buffer, kind, exif=turned)
        pixels += [decode_image(buffer.getvalue(), kind, 100, exif) for exif in ("apply", "ignore")]
    values = np.arange(0, 4096, 455).reshape(2, 5, 1)
    for photometric, bits in (
        (WHITE_IS_ZERO, 12),
        (WHITE_IS_ZERO, 16),
        (BLACK_IS_ZERO, 12),
        (BLACK_IS_ZERO, 16),
    ):
        pixels.append(decode_image(tiff(values, photometric, Layout(bits)), "TIFF", 100))

    digest = hashlib.sha256(repr([image.tolist() for image in pixels]).encode()).hexdigest()
    assert {PIXEL_RULES: digest[:16]} == DIGEST_BY_RULES
