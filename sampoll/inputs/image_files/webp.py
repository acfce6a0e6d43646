"""WebP: the size of its canvas, and its EXIF data.

https://developers.google.com/speed/webp/docs/riff_container
"""

import struct

from sampoll.inputs.image_files.exif import orientation_of
from sampoll.inputs.image_files.header import Header

BYTES_PER_PIXEL = 17
"""Measured: two canvases of the decoder, its answer, Pillow's copy, and the pixels."""
_EXTENDED, _EXIF = b"VP8X", b"EXIF"
_HAS_EXIF = 0x08
MAX_CHUNKS = 10_000
"""Until then, EXIF is looked for. It comes behind the pictures, of which an animation has thousands."""


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
    has_exif = kind == _EXTENDED and bool(body[0] & _HAS_EXIF)
    return Header(width, height, BYTES_PER_PIXEL, orientation_of(_exif_of(content) if has_exif else b""))


def _exif_of(content: bytes) -> bytes:
    """The content of the first EXIF chunk; empty if there is none."""
    position = 12
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(content):
            break
        kind, length = struct.unpack_from("<4sI", content, position)
        if kind == _EXIF:
            return content[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
    return b""
