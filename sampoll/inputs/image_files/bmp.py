"""BMP: its size and compression."""

import struct

from sampoll.inputs.image_files.header import BadStructure, Header

SIGNATURE = b"BM"
_SHORT_HEADER = 12
_RUN_LENGTHS = (1, 2)

MAX_RUN_LENGTH_PIXELS = 2**24
"""Pillow unpacks run lengths in Python, pixel by pixel where a line is short: that many take seconds."""
BYTES_PER_PIXEL = 8


def header_of(content: bytes) -> Header:
    head = content[14:34].ljust(20, b"\0")
    if head[0] == _SHORT_HEADER:
        width, height = struct.unpack_from("<HH", head, 4)
    else:
        width, height = map(abs, struct.unpack_from("<ii", head, 4))
    return Header(width, height, BYTES_PER_PIXEL)


def check(content: bytes) -> None:
    head = content[14:34].ljust(20, b"\0")
    is_packed = head[0] != _SHORT_HEADER and int.from_bytes(head[16:20], "little") in _RUN_LENGTHS
    if is_packed and header_of(content).pixels > MAX_RUN_LENGTH_PIXELS:
        raise BadStructure(f"is compressed, and has more than {MAX_RUN_LENGTH_PIXELS} pixels: save it as PNG")
