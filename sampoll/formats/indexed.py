"""All masks of an image as one image of labels: indexed/NAME.png."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sampoll.core.results import Artifact, Mask, Segmentation
from sampoll.formats.options import FormatOptions
from sampoll.formats.png_encoder import encode_grayscale

MAX_MASKS = 2**16 - 1


def build(options: FormatOptions) -> "IndexedMask":
    return IndexedMask()


class IndexedMask:
    """A grayscale PNG: 0 is background, k is the k-th mask, counted from 1 over all prompts of the file; 8
    bits a pixel for up to 255 masks, 16 for more.

    Where masks overlap, the smaller one is on top; of two with the same area, the later one.
    """

    thumbnails: ClassVar[Mapping[str, int]] = {"indexed/.png": 3}

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        return ["indexed/.png"]

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        masks = [(number + 1, mask) for number, _, mask in segmentation.numbered_masks()]
        largest_label = max((label for label, _ in masks), default=0)
        if largest_label > MAX_MASKS:
            raise ValueError(f"an indexed PNG holds at most {MAX_MASKS} masks, and these are {largest_label}")
        bit_depth = 8 if largest_label <= 255 else 16
        labels = np.zeros(segmentation.size, ">u2")
        for label, mask in sorted(masks, key=lambda labelled: -labelled[1].area):
            _paint(labels, mask, label)
        rows = labels.astype(np.uint8) if bit_depth == 8 else labels.view(np.uint8)
        content = encode_grayscale(rows, segmentation.size[1], bit_depth)
        return [Artifact("indexed/.png", content)]


def _paint(labels: NDArray[np.uint16], mask: Mask, label: int) -> None:
    if mask.box is not None:
        box = mask.box
        part = labels[box.top : box.bottom + 1, box.left : box.right + 1]
        part[mask.pixels_in(box)] = label
