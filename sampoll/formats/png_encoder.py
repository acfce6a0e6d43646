"""Grayscale PNG from pixels that are packed already.

https://www.w3.org/TR/png-3/
"""

import struct

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from sampoll.inputs.image_files.png import SIGNATURE

GRAYSCALE = 0
FAST = 1
"""ISA-L's level 1 compresses masks as well as zlib's level 1, in an eighth of the time."""


def encode_grayscale(rows: NDArray[np.uint8], width: int, bit_depth: int) -> bytes:
    """A PNG of `width` pixels a row of `bit_depth` 1, 8 or 16, the rows being given as their bytes: shape
    (H, ceil(width * bit_depth / 8)), 16 bits big-endian."""
    height, row_bytes = rows.shape
    if not 0 < max(height, width) < 2**31:
        raise ValueError(f"no PNG can be as large as {height, width} (H, W)")
    lines = np.zeros((height, 1 + row_bytes), np.uint8)  # each begins with its filter: 0, none
    lines[:, 1:] = rows
    header = struct.pack(">IIBBBBB", width, height, bit_depth, GRAYSCALE, 0, 0, 0)
    data = isal_zlib.compress(lines, FAST)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = isal_zlib.crc32(content, isal_zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
