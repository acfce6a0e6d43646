"""Image files with something wrong in them, made from valid ones of all formats and modes."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from support.fuzz_documents import damaged

_KINDS: Mapping[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "JPEG": (("RGB", {}), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True}), ("RGB", {"quality": 100})),
    "PNG": (("RGB", {}), ("RGBA", {}), ("L", {}), ("LA", {}), ("P", {}), ("1", {}), ("I;16", {})),
    "TIFF": tuple(
        (mode, {"compression": compression})
        for mode in ("RGB", "L", "1", "CMYK", "I;16", "P", "F")
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4")
        if (compression != "jpeg" or mode in ("RGB", "L", "CMYK"))
        and (compression != "group4" or mode == "1")
    ),
    "WEBP": (("RGB", {}), ("RGBA", {}), ("RGB", {"lossless": True}), ("RGBA", {"lossless": True})),
    "BMP": (("RGB", {}), ("RGBA", {}), ("L", {}), ("P", {}), ("1", {})),
}
LARGE_BYTES = 10_000
"""A file of more is not changed again: changes repeat parts of it up to a thousand times."""
SIZES = ((8, 8), (33, 17), (1, 1), (200, 3))
_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 12, 13, 16, 17, 32, 255, 256, 257, 4472, 5000, 16383, 32767, 65535, 2**20)
_LARGE_NUMBERS = (*_NUMBERS, 2**31 - 1, 2**31, 2**32 - 1)
_PNG_KINDS = (
    b"IHDR",
    b"IDAT",
    b"PLTE",
    b"tRNS",
    b"tEXt",
    b"zTXt",
    b"iTXt",
    b"iCCP",
    b"eXIf",
    b"acTL",
    b"fcTL",
)
_JPEG_MARKERS = (
    0xC0,
    0xC1,
    0xC2,
    0xC4,
    0xC9,
    0xD0,
    0xD9,
    0xDA,
    0xDB,
    0xDD,
    0xE0,
    0xE1,
    0xE2,
    0xED,
    0xEE,
    0xFE,
)


@cache
def _noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@cache
def valid_image(kind: str, variant: int, size: tuple[int, int], orientation: int) -> bytes:
    mode, options = _KINDS[kind][variant]
    image = _noise(*size)
    if mode == "I;16":
        made = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        made = image.convert("RGBA").convert("LA") if mode == "LA" else image.convert(mode)
    if orientation and kind != "BMP":
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {**options, "exif": exif}
    buffer = io.BytesIO()
    made.save(buffer, kind, **options)
    return buffer.getvalue()


def image(random: Random) -> bytes:
    """An image file: as it was written, with a change that its format understands, or with damage."""
    kind = random.choice(list(_KINDS))
    variant, size = random.randrange(len(_KINDS[kind])), random.choice(SIZES)
    content = valid_image(kind, variant, size, random.choice([0, 0, 0, 1, 6, 8]))
    for _ in range(random.choice([0, 1, 1, 1, 2, 3])):
        if len(content) > LARGE_BYTES:
            break
        content = _CHANGES[kind](random, content) if random.random() < 0.75 else damaged(random, content)
    return content


def _with_number(random: Random, content: bytes, at: int, form: str) -> bytes:
    """`content` with another number of this struct format at this place, if it is so long."""
    number = random.choice(_LARGE_NUMBERS) & (256 ** struct.calcsize(form) - 1)
    end = at + struct.calcsize(form)
    return content[:at] + struct.pack(form, number) + content[end:] if end <= len(content) else content


def _png(random: Random, content: bytes) -> bytes:
    """Another header, other chunks, or other pixels, with checksums that fit."""
    chunks, position = [], 8
    while position + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        chunks.append((name, content[position + 8 : position + 8 + length]))
        position += 12 + length
    if not chunks:
        return damaged(random, content)
    place = random.randrange(len(chunks))
    name, data = chunks[place]
    match random.randrange(7):
        case 0:
            chunks[place] = (name, damaged(random, data))
        case 1:
            chunks[place:place] = [chunks[place]] * random.choice([1, 2, 1000])
        case 2:
            del chunks[place]
        case 3:
            sides = [random.choice(_NUMBERS) for _ in range(2)]
            depth, colours = random.choice([1, 2, 4, 8, 16, 3]), random.choice([0, 2, 3, 4, 6, 1])
            ends = random.choice([0, 0, 1]), random.choice([0, 0, 1])
            chunks[0] = (b"IHDR", struct.pack(">IIBBBBB", *sides, depth, colours, ends[0], 0, ends[1]))
        case 4:
            chunks[place] = (b"IDAT", zlib.compress(bytes(random.choice([0, 10, 10**5, 6 * 10**7])), 1))
        case 5:
            bomb = b"a\0\0" + zlib.compress(bytes(random.choice([5, 10**6, 10**8])), 1)
            kind = random.choice(_PNG_KINDS)
            chunks.insert(place, (kind, random.choice([bomb, b"", random.randbytes(26)])))
        case 6:
            chunks.insert(random.randrange(len(chunks)), chunks.pop(place))
    made = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return content[:8] + b"".join(made)


def _jpeg(random: Random, content: bytes) -> bytes:
    """Other sizes in its frame, or segments and scans that are new, repeated or missing."""
    frame = next((content.find(bytes((0xFF, m))) for m in (0xC0, 0xC2) if bytes((0xFF, m)) in content), 2)
    scan = max(content.find(b"\xff\xda"), 2)
    match random.randrange(6):
        case 0:
            return _with_number(random, content, frame + random.choice([5, 7]), ">H")
        case 1:
            return _with_number(random, content, frame + random.randrange(4, 20), ">B")
        case 2:
            return content[:-2] + content[scan:-2] * random.choice([1, 20, 30, 300]) + content[-2:]
        case 3:
            body = random.choice(
                [b"", b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0", b"ICC_PROFILE\0\1\1", b"MPF\0"]
            )
            body += random.randbytes(random.randrange(30))
            made = struct.pack(">BBH", 0xFF, random.choice(_JPEG_MARKERS), len(body) + 2) + body
            return content[:2] + made * random.choice([1, 2, 20, 11_000]) + content[2:]
        case 4:
            return content[: random.randrange(scan, len(content) + 1)] + b"\xff\xd9"
        case _:
            return content[:2] + content[random.randrange(2, scan + 1) :]


def _tiff(random: Random, content: bytes) -> bytes:
    """An entry of its directory with another tag, type, count or value; or more pages, or another place."""
    if len(content) < 8:
        return content
    [place] = struct.unpack_from("<I", content, 4)
    if place + 2 > len(content) or random.random() < 0.1:
        return _with_number(random, content, random.choice([2, 4]), "<I")
    [number] = struct.unpack_from("<H", content, place)
    entry = place + 2 + 12 * random.randrange(min(number, 100) + 1)
    match random.randrange(6):
        case 0:
            tags = (
                256,
                257,
                258,
                259,
                262,
                273,
                274,
                277,
                278,
                279,
                284,
                317,
                320,
                322,
                323,
                324,
                325,
                339,
                347,
            )
            tag = struct.pack("<H", random.choice(tags))
            return content[:entry] + tag + content[entry + 2 :]
        case 1:
            return content[: entry + 2] + struct.pack("<H", random.randrange(18)) + content[entry + 4 :]
        case 2:
            return _with_number(random, content, entry + 4, "<I")
        case 3:
            return _with_number(random, content, place + 2 + 12 * number, "<I")
        case _:
            return _with_number(random, content, entry + 8, random.choice(["<I", "<H"]))


def _bmp(random: Random, content: bytes) -> bytes:
    at, form = random.choice(
        [
            (10, "<I"),
            (14, "<I"),
            (18, "<I"),
            (22, "<I"),
            (26, "<H"),
            (28, "<H"),
            (30, "<I"),
            (34, "<I"),
            (46, "<I"),
        ]
    )
    if random.random() < 0.3:  # run lengths
        content = content[:30] + struct.pack("<I", random.choice([1, 2, 3, 4, 5, 6])) + content[34:]
    return _with_number(random, content, at, form)


def _webp(random: Random, content: bytes) -> bytes:
    if random.random() < 0.5:
        return _with_number(random, content, random.choice([4, 16, 20, 24, 26, 27, 28]), "<H")
    kind = random.choice([b"VP8X", b"VP8 ", b"VP8L", b"ANIM", b"ANMF", b"ALPH", b"EXIF", b"ICCP", b"XMP "])
    body = random.choice([bytes(10), random.randbytes(10), random.randbytes(24), content[20:]])
    made = kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    place = random.choice([12, len(content)])
    return content[:place] + made * random.choice([1, 1, 2, 500]) + content[place:]


_CHANGES: Mapping[str, Callable[[Random, bytes], bytes]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "TIFF": _tiff,
    "BMP": _bmp,
    "WEBP": _webp,
}
