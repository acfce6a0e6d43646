"""Masks as COCO run-length encodings: exact, with holes and detached parts, in little space.

https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.h
"""

from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from sampoll.core.results import Mask, PackedMask
from sampoll.inputs.coco_rle import checked_runs, compressed_runs


class Rle(TypedDict):
    """`size` is [H, W]; `counts` are the runs, down the columns, in COCO's compressed form."""

    size: list[int]
    counts: str


def rle_of(mask: Mask) -> Rle:
    height, width = mask.size
    packed = mask.packed
    ends = np.concatenate([_changes(packed, width), [height * width]])
    runs = ends.tolist()
    runs[1:] = (ends[1:] - ends[:-1]).tolist()
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
    [where] = (differences != 0).nonzero()  # of booleans, which is several times faster
    [bits] = np.unpackbits(differences[where]).view(np.bool_).nonzero()
    rows, bytes_ = np.divmod(where[bits >> 3], packed.shape[1])
    down = (8 * bytes_ + (bits & 7)) * height + rows + 1
    top, bottom = (np.unpackbits(packed[row], count=width) for row in (0, -1))
    [columns] = (top[1:] != bottom[:-1]).nonzero()
    across = (columns + 1) * height
    changes = np.concatenate([down, across])
    changes.sort()
    return changes


def mask_of(rle: Rle, score: float) -> Mask:
    """The mask that was encoded; ValueError or KeyError for what is no encoding. pycocotools is not asked: it
    leaves pixels undefined that the counts do not cover."""
    height, width = rle["size"]
    runs, height, width = checked_runs(compressed_runs(rle["counts"]), height, width)
    down = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height)
    by_rows = cv2.transpose(down.view(np.uint8))  # several times faster than numpy's copy
    return Mask.from_array(by_rows.view(np.bool_), score)
