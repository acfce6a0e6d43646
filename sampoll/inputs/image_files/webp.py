"""WebP: the size of its canvas.

https://developers.google.com/speed/webp/docs/riff_container
"""

from sampoll.inputs.image_files.header import Header

BYTES_PER_PIXEL = 17
"""Measured: two canvases of the decoder, its answer, Pillow's copy, and the pixels."""


def is_webp(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def header_of(content: bytes) -> Header:
    """The header; of a size that cannot be read, the largest that there is."""
    kind, body = content[12:16], content[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (4, 7))
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(body[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return Header(width, height, BYTES_PER_PIXEL)
