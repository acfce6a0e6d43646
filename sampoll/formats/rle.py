"""Masks as COCO run-length encodings: exact, with holes and detached parts, in little space.

https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.h
"""

from typing import TypeAlias, TypedDict

import numpy as np
from pycocotools import mask as coco

from sampoll.results import Mask


class Rle(TypedDict):
    """`size` is [H, W]; `counts` are the runs, down the columns, in COCO's compressed form."""

    size: list[int]
    counts: str


Rles: TypeAlias = list[list[Rle]]
"""For each prompt, one for each of its masks."""


def rle_of(mask: Mask) -> Rle:
    encoded = coco.encode(np.asfortranarray(mask.pixels().view(np.uint8)))
    return {"size": list(mask.size), "counts": encoded["counts"].decode("ascii")}


def mask_of(rle: Rle, score: float) -> Mask:
    """The mask that was encoded; ValueError or KeyError for what is no encoding."""
    height, width = rle["size"]
    pixels = coco.decode({"size": [height, width], "counts": rle["counts"].encode("ascii")})
    return Mask.from_array(np.ascontiguousarray(pixels).view(np.bool_), score)
