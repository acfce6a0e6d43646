"""COCO's run-length encoding of masks: the lengths of its runs, down the columns, background first.

https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.h
"""

import re
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Runs: TypeAlias = NDArray[np.int64]
_COUNTS = re.compile("(?:[P-o]{0,6}[0-O])+")
"""Numbers of 5 bits in each character, the lowest first; the last character of a number is from 0 to O."""
MAX_PIXELS = 2**31 - 1


def checked_runs(runs: Runs, height: Any, width: Any) -> tuple[Runs, int, int]:
    """The same values, if the runs cover an image of this size; otherwise ValueError."""
    if not (type(height) is type(width) is int and min(height, width) > 0):
        raise ValueError("the size of a mask must be two positive integers")
    if height * width > MAX_PIXELS or not len(runs) or runs.sum() != height * width or runs.min() < 0:
        raise ValueError(f"the runs of a mask do not cover its {width}x{height} pixels")
    return runs, height, width


def compressed_runs(counts: str) -> Runs:
    """The runs of COCO's compressed form, which holds each, from the fourth on, as the difference to the last
    but one. pycocotools is not asked: it reads beyond counts that are cut off."""
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


def box_of_runs(runs: Runs, height: int) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 around the pixels of an object; ValueError if it has none."""
    ends = runs.cumsum()[1::2]
    is_object = runs[1::2] > 0
    first, last = (ends - runs[1::2])[is_object], ends[is_object] - 1
    if not len(first):
        raise ValueError("the mask has no pixel")
    (x0, x1), (top, bottom) = (first[0] // height, last[-1] // height), (first % height, last % height)
    if (first // height != last // height).any():  # a run that goes on in the next column
        top, bottom = np.array([0]), np.array([height - 1])
    return int(x0), int(top.min()), int(x1) + 1, int(bottom.max()) + 1
