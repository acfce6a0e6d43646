"""Masks in the run-length encoding of Label Studio's brush: rows of RGBA, of which only alpha is shown.

https://github.com/HumanSignal/label-studio-sdk/blob/main/src/label_studio_sdk/converter/brush.py
https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sampoll.core.results import Mask

CHANNELS = 4
MAX_PIXELS = (2**32 - 1) // CHANNELS
"""The number of values is written with 32 bits."""
VALUE_BITS = 8
LENGTH_BITS = (3, 4, 8, 16)
"""A run says which of these its length has; it is written less 1."""
LONGEST = 2 ** LENGTH_BITS[-1]
PACKETS_AT_ONCE = 2**18
_HEADER_BITS = 3
"""Of a packet: whether it is a run, and which of LENGTH_BITS its length has."""
_MOST_BITS = _HEADER_BITS + LENGTH_BITS[-1] + VALUE_BITS


def brush_rle(mask: Mask) -> bytes:
    """The encoding, whose values are 255 on the object and 0 elsewhere. ValueError for a mask of more than
    MAX_PIXELS pixels."""
    height, width = mask.size
    if height * width > MAX_PIXELS:
        raise ValueError(f"a brush has at most {MAX_PIXELS} pixels")
    start = np.array([height * width * CHANNELS], ">u4").view(np.uint8)
    sizes = [VALUE_BITS - 1, *(bits - 1 for bits in LENGTH_BITS)]
    widths = np.array([5, 4, 4, 4, 4])
    pending = np.concatenate([np.unpackbits(start), _bits(np.array(sizes), widths)])
    whole = []
    for packets, bits in _packets(mask):
        pending = np.concatenate([pending, _bits(packets, bits)])
        end = len(pending) // 8 * 8
        whole.append(np.packbits(pending[:end]).tobytes())
        pending = pending[end:]
    return b"".join([*whole, np.packbits(pending).tobytes()])


def _packets(mask: Mask) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """One number for each run, with the number of its bits, some at a time."""
    lengths, values = _runs(mask)
    for first in range(0, len(lengths), PACKETS_AT_ONCE):
        some = slice(first, first + PACKETS_AT_ONCE)
        size = np.searchsorted(2 ** np.array(LENGTH_BITS), lengths[some])
        length_bits = np.array(LENGTH_BITS)[size]
        packets = ((4 + size) << length_bits | (lengths[some] - 1)) << VALUE_BITS | values[some]
        yield packets, _HEADER_BITS + length_bits + VALUE_BITS


def _runs(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lengths of the runs along the rows, none longer than LONGEST, and their values."""
    pixels = mask.pixels().reshape(-1)
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    lengths = np.diff(changes, prepend=0, append=len(pixels)) * CHANNELS
    values = (np.arange(len(lengths)) + bool(pixels[0])) % 2 * 255
    pieces = (lengths - 1) // LONGEST + 1
    last = np.cumsum(pieces) - 1
    split = np.full(last[-1] + 1, LONGEST)
    split[last] = lengths - (pieces - 1) * LONGEST
    return split, np.repeat(values, pieces)


def _bits(numbers: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The numbers one after another, each with its number of bits, the highest first."""
    ends = np.cumsum(widths)
    bits = np.zeros(int(ends[-1]), np.uint8)
    for place in range(min(_MOST_BITS, int(widths.max()))):
        has = widths > place
        bits[ends[has] - 1 - place] = numbers[has] >> place & 1
    return bits
