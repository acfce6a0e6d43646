"""Masks as COCO run-length encodings: exact, with holes and detached parts, in little space.

https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.h
"""

import re
from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from sampoll.core.results import Mask, PackedMask

_COUNTS = re.compile("(?:[P-o]{0,6}[0-O])+")
"""Numbers of 5 bits in each character, the lowest first; the last character of a number is from 0 to O."""
MAX_PIXELS = 2**31 - 1


class Rle(TypedDict):
    """`size` is [H, W]; `counts` are the runs, down the columns, in COCO's compressed form."""

    size: list[int]
    counts: str


def rle_of(mask: Mask) -> Rle:
    height, width = mask.size
    packed = mask.packed
    runs = np.diff(_changes(packed, width), prepend=0, append=height * width).tolist()
    # The first run is always background, and may have length 0.
    starts_on_object = packed[0, 0] & 0x80
    counts = [0, *runs] if starts_on_object else runs
    compressed = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": compressed["counts"].decode("ascii")}


def _changes(packed: PackedMask, width: int) -> NDArray[np.int64]:
    """Where, counted down the columns, pixels differ from the one before; sorted.

    Eight pixels at a time: a row differs from the one above in few bytes.
    """
    height = len(packed)
    differences = (packed[1:] ^ packed[:-1]).ravel()
    where = np.flatnonzero(differences != 0)
    bits = np.flatnonzero(np.unpackbits(differences[where]).view(np.bool_))
    rows, bytes_ = np.divmod(where[bits >> 3], packed.shape[1])
    down = (8 * bytes_ + (bits & 7)) * height + rows + 1
    top, bottom = (np.unpackbits(packed[row], count=width) for row in (0, -1))
    across = (np.flatnonzero(top[1:] != bottom[:-1]) + 1) * height
    changes = np.concatenate([down, across])
    changes.sort()
    return changes


def mask_of(rle: Rle, score: float) -> Mask:
    """The mask that was encoded; ValueError or KeyError for what is no encoding. pycocotools is not asked: it
    reads beyond counts that are cut off, and leaves pixels undefined that they do not cover."""
    height, width = rle["size"]
    runs = _runs(rle["counts"])
    if not (type(height) is type(width) is int and min(height, width) > 0):
        raise ValueError("the size of a mask must be two positive integers")
    if height * width > MAX_PIXELS or runs.sum() != height * width or runs.min() < 0:
        raise ValueError(f"the runs of a mask do not cover its {width}x{height} pixels")
    down = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height)
    by_rows = cv2.transpose(down.view(np.uint8))  # several times faster than numpy's copy
    return Mask.from_array(by_rows.view(np.bool_), score)


def _runs(counts: str) -> NDArray[np.int64]:
    """The lengths of the runs, which counts hold as differences to the last but one, from the fourth on."""
    if not _COUNTS.fullmatch(counts):
        raise ValueError("the runs of a mask are not in COCO's compressed form")
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - ord("0")
    ends = np.flatnonzero(codes & 0x20 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 0x1F) << shifts, starts)
    runs = numbers - np.where(codes[ends] & 0x10, np.int64(1) << 5 * lengths, 0)
    for first in (1, 2):
        runs[first::2] = runs[first::2].cumsum()
    return runs
