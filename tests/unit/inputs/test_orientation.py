"""Which orientation counts, as it was measured with Chromium: docs/formats.md has the table."""

import struct
import zlib

import numpy as np
import pytest
from support.images import encoded, image_of
from support.tiffs import ASCII, BYTE, DOUBLE, LONG, SHORT, SIGNED_SHORT

from sampoll.inputs.decode import decode_image, image_size

ORIENTATION, WIDTH, MAKE, EXIF_DIRECTORY = 0x112, 0x100, 0x10F, 0x8769
IMAGE = image_of(40, 24)
PNG, JPEG, WEBP = encoded(IMAGE, "PNG"), encoded(IMAGE, "JPEG"), encoded(IMAGE, "WEBP", lossless=True)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def exif(*entries: tuple[int, int, int, bytes], order: str = "<", version: int = 42) -> bytes:
    """EXIF data of one directory; entries are tag, type, count, and the bytes of the value or its place."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", version, 8)
    body = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return head + struct.pack(order + "H", len(entries)) + body + bytes(4)


def short(value: int, order: str = "<") -> tuple[int, int, int, bytes]:
    return ORIENTATION, SHORT, 1, struct.pack(order + "H", value)


SIX = exif(short(6))
BLOCKS = {
    "SHORT": (SIX, 6),
    "big-endian": (exif(short(6, ">"), order=">"), 6),
    "the first of two": (exif(short(6), short(1)), 6),
    "an upright one before another": (exif(short(1), short(6)), 1),
    "among others, unsorted": (exif((0x132, ASCII, 4, b"abc"), short(6), (WIDTH, SHORT, 1, b"\1")), 6),
    "beside a value outside the data": (exif((MAKE, ASCII, 10**6, b"\xff\xff\xff\0"), short(6)), 6),
    "beside an unknown type": (exif((MAKE, 99, 3, b"abc"), short(6)), 6),
    "in the directory of EXIF": (exif((EXIF_DIRECTORY, LONG, 1, struct.pack("<I", 26))) + SIX[8:], 6),
    "without the pointer at its end": (SIX[:-4], 6),
    "fewer entries than announced": (SIX[:8] + b"\x0c" + SIX[9:-4], 6),
    "LONG": (exif((ORIENTATION, LONG, 1, b"\6")), 1),
    "big-endian LONG": (exif((ORIENTATION, LONG, 1, b"\0\0\0\6"), order=">"), 1),
    "BYTE": (exif((ORIENTATION, BYTE, 1, b"\6")), 1),
    "signed": (exif((ORIENTATION, SIGNED_SHORT, 1, b"\6")), 1),
    "text": (exif((ORIENTATION, ASCII, 2, b"6\0")), 1),
    "a double": (exif((ORIENTATION, DOUBLE, 1, b"\x08")), 1),
    "two values": (exif((ORIENTATION, SHORT, 2, b"\6\0\6\0")), 1),
    "no values": (exif((ORIENTATION, SHORT, 0, b"\6")), 1),
    "0": (exif(short(0)), 1),
    "9": (exif(short(9)), 1),
    "65535": (exif(short(65535)), 1),
    "in the directory of the thumbnail": (
        exif((WIDTH, SHORT, 1, b"\1"))[:-4] + struct.pack("<I", 26) + SIX[8:],
        1,
    ),
    "a directory that points to itself": (exif((EXIF_DIRECTORY, LONG, 1, b"\x08")), 1),
    "cut in its entry": (SIX[:-6], 1),
    "another version": (exif(short(6), version=43), 1),
    "no directory": (SIX[:4] + bytes(4) + SIX[8:], 1),
    "a directory outside the data": (SIX[:4] + b"\xff\xff\0\0" + SIX[8:], 1),
    "behind another prefix": (b"Exif\0\0" + SIX, 1),
    "garbage": (b"\x93" * 30, 1),
    "nothing": (b"", 1),
}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: tuple[bytes, bytes], behind: bytes = b"") -> bytes:
    return PNG[:33] + b"".join(chunk(*each) for each in chunks) + PNG[33:-12] + behind + PNG[-12:]


def jpeg(*payloads: bytes) -> bytes:
    segments = [b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload for payload in payloads]
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def webp(*chunks: tuple[bytes, bytes], flags: int = 0x08) -> bytes:
    size = (IMAGE.shape[1] - 1).to_bytes(3, "little") + (IMAGE.shape[0] - 1).to_bytes(3, "little")
    pixels = WEBP[20 : 20 + int.from_bytes(WEBP[16:20], "little")]
    parts = ((b"VP8X", bytes([flags, 0, 0, 0]) + size), (b"VP8L", pixels), *chunks)
    body = b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in parts)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def check(content: bytes, plain: bytes, orientation: int) -> None:
    """The image is turned once or not at all, and its size agrees, whether EXIF is applied or ignored."""
    stored = decode_image(plain, "a", 10**6)
    upright = np.rot90(stored, -1) if orientation == 6 else stored

    assert np.array_equal(decode_image(content, "a", 10**6), upright)
    assert image_size(content) == upright.shape[:2]
    assert np.array_equal(decode_image(content, "a", 10**6, "ignore"), stored)
    assert image_size(content, "ignore") == stored.shape[:2]


@pytest.mark.parametrize(("block", "orientation"), BLOCKS.values(), ids=BLOCKS.keys())
def test_an_orientation_counts_as_in_browsers_and_garbage_harms_nothing(
    block: bytes, orientation: int
) -> None:
    check(jpeg(b"Exif\0\0" + block), JPEG, orientation)
    check(png((b"eXIf", block)), PNG, orientation)
    check(webp((b"EXIF", block)), WEBP, orientation)


ONE = exif(short(1))
RAW_PROFILE = b"Raw profile type exif\0\0" + zlib.compress(
    b"\nexif\n%8d\n" % (len(SIX) + 6) + (b"Exif\0\0" + SIX).hex().encode()
)
PLACES = {
    "jpeg: the first EXIF": (jpeg(b"Exif\0\0" + SIX, b"Exif\0\0" + ONE), JPEG, 6),
    "jpeg: not the second EXIF": (jpeg(b"Exif\0\0garbage", b"Exif\0\0" + SIX), JPEG, 1),
    "jpeg: no XMP": (jpeg(b"http://ns.adobe.com/xap/1.0/\0" + XMP), JPEG, 1),
    "jpeg: EXIF before XMP": (jpeg(b"http://ns.adobe.com/xap/1.0/\0" + XMP, b"Exif\0\0" + ONE), JPEG, 1),
    "png: the first EXIF": (png((b"eXIf", SIX), (b"eXIf", ONE)), PNG, 6),
    "png: EXIF behind the pixels": (png(behind=chunk(b"eXIf", SIX)), PNG, 6),
    "png: EXIF before the pixels first": (png((b"eXIf", ONE), behind=chunk(b"eXIf", SIX)), PNG, 1),
    "png: no damaged EXIF": (png(behind=chunk(b"eXIf", SIX)[:-4] + bytes(4)), PNG, 1),
    "png: no XMP": (png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)), PNG, 1),
    "png: no EXIF in text": (png((b"zTXt", RAW_PROFILE)), PNG, 1),
    "webp: no EXIF that is not announced": (webp((b"EXIF", SIX), flags=0), WEBP, 1),
    "webp: no XMP": (webp((b"XMP ", XMP), flags=0x04), WEBP, 1),
}


@pytest.mark.parametrize(("content", "plain", "orientation"), PLACES.values(), ids=PLACES.keys())
def test_one_place_of_a_file_has_its_orientation(content: bytes, plain: bytes, orientation: int) -> None:
    check(content, plain, orientation)
