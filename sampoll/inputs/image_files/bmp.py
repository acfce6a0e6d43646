"""BMP: its size, compression and kind of pixels."""

import struct
from collections.abc import Collection, Mapping

from sampoll.inputs.image_files.header import BadStructure, Header

SIGNATURE = b"BM"
_SHORT_HEADER = 12
_RUN_LENGTHS, _MASKS = (1, 2), (3, 6)
"""Compressions: these are pixels whose channels are told by masks, the second with alpha."""
_BITS: Mapping[int, Collection[int]] = {0: (1, 4, 8, 16, 24, 32), 1: (8,), 2: (4,), 3: (16, 32), 6: (16, 32)}
"""The bits of a pixel that are read, by compression."""

MAX_RUN_LENGTH_PIXELS = 2**24
"""Pillow unpacks run lengths in Python, pixel by pixel where a line is short: that many take seconds."""
BYTES_PER_PIXEL = 8


def header_of(content: bytes) -> Header:
    head = content[14:34].ljust(20, b"\0")
    if head[0] == _SHORT_HEADER:
        width, height = struct.unpack_from("<HH", head, 4)
    else:
        width, height = struct.unpack_from("<ii", head, 4)  # lines from top to bottom have a negative height
    return Header(max(width, 0), abs(height), BYTES_PER_PIXEL)


def check(content: bytes) -> None:
    if _compression(content) in _RUN_LENGTHS and header_of(content).pixels > MAX_RUN_LENGTH_PIXELS:
        raise BadStructure(f"is compressed, and has more than {MAX_RUN_LENGTH_PIXELS} pixels: save it as PNG")


def check_kind(content: bytes) -> None:
    """Refuses pixels of a kind that is not decoded here."""
    at = 24 if content[14:15] == bytes([_SHORT_HEADER]) else 28
    compression, bits = _compression(content), int.from_bytes(content[at : at + 2], "little")
    if bits not in _BITS.get(compression, ()):
        raise BadStructure(
            f"is a BMP of {bits} bits with compression {compression}, which is not read here: save it as PNG"
        )


def has_masks(content: bytes) -> bool:
    """Whether masks tell which bits of a pixel are its channels."""
    return _compression(content) in _MASKS


def _compression(content: bytes) -> int:
    head = content[14:34].ljust(20, b"\0")
    return 0 if head[0] == _SHORT_HEADER else int.from_bytes(head[16:20], "little")
