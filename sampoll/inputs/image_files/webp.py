"""WebP: the size of its canvas, its EXIF data, and its number of pictures.

https://developers.google.com/speed/webp/docs/riff_container
"""

import struct
from collections.abc import Iterator

from sampoll.inputs.image_files.exif import orientation_of
from sampoll.inputs.image_files.header import BadStructure, Header

BYTES_PER_PIXEL = 17
"""Measured: two canvases of the decoder, its answer, Pillow's copy, and the pixels."""
_EXTENDED, _EXIF, _FRAME = b"VP8X", b"EXIF", b"ANMF"
_HAS_EXIF, _IS_ANIMATION = 0x08, 0x02
_FIRST_CHUNK = 12
MAX_CHUNKS = 10_000
"""An animation has one for each frame, and any other image fewer than ten."""


def is_webp(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def header_of(content: bytes) -> Header:
    """The header; of a size that cannot be read, the largest that there is."""
    kind, body = content[12:16], content[20:30].ljust(10, b"\0")
    if kind == _EXTENDED:
        width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (4, 7))
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(body[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return Header(width, height, BYTES_PER_PIXEL, orientation_of(_exif_of(content)))


def check(content: bytes) -> int:
    """The number of pictures. Refuses a file that is cut off, and one of more chunks than images have."""
    if 8 + int.from_bytes(content[4:8], "little") > len(content):
        raise BadStructure("is truncated")
    frames = 0
    for number, (kind, _) in enumerate(_chunks(content)):
        if number >= MAX_CHUNKS:
            raise BadStructure(f"has more than {MAX_CHUNKS} chunks: save it again")
        frames += kind == _FRAME
    return frames if _flags(content) & _IS_ANIMATION else 1


def _exif_of(content: bytes) -> bytes:
    """The content of the first EXIF chunk; empty if there is none."""
    if _flags(content) & _HAS_EXIF:
        for number, (kind, body) in enumerate(_chunks(content)):
            if number >= MAX_CHUNKS:
                break
            if kind == _EXIF:
                return content[body]
    return b""


def _flags(content: bytes) -> int:
    """What an extended file says about its chunks."""
    return content[20] if content[12:16] == _EXTENDED and len(content) > 20 else 0


def _chunks(content: bytes) -> Iterator[tuple[bytes, slice]]:
    """The kind of each chunk, and where its content is."""
    position = _FIRST_CHUNK
    while position + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, position)
        yield kind, slice(position + 8, position + 8 + length)
        position += 8 + length + length % 2
