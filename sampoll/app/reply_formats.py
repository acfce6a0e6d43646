"""What replies over Redis contain besides the files: one mask for all prompts, contours as point lists."""

from collections.abc import Sequence

import numpy as np
import orjson

from sampoll.core.results import Artifact, Mask, Segmentation
from sampoll.formats.geometry.contours import OuterContour, outer_contours
from sampoll.formats.png import encode
from sampoll.transports.redis.messages import CONTOURS, UNION


class UnionMask:
    """One PNG for all prompts: 1 where at least one mask is 1."""

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        return [UNION]

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        alone = [artifact for artifact in earlier if artifact.suffix == ".png"]
        content = alone[0].content if alone else encode(union_of(segmentation))
        return [Artifact(UNION, content)]


class ContourLists:
    """The outer contours of all masks as [[[x, y], ...], ...] in pixels.

    Contours of zero width or height are left out: a known client drops all contours because of a single one.
    """

    def __init__(self, simplify_pixels: float = 0.0) -> None:
        self._simplify_pixels = simplify_pixels

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        return [CONTOURS]

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        masks = (mask for masks in segmentation.masks for mask in masks)
        outlines = (c for mask in masks for c in outer_contours(mask, self._simplify_pixels))
        contours = [outline.polygon for outline in outlines if _has_extent(outline)]
        return [Artifact(CONTOURS, orjson.dumps(contours, option=orjson.OPT_SERIALIZE_NUMPY))]


def blank(size: tuple[int, int]) -> bytes:
    """A PNG of `size` (H, W) without any object."""
    height, width = size
    return encode(Mask.from_packed(np.zeros((height, (width + 7) // 8), np.uint8), size, 0.0))


def union_of(segmentation: Segmentation) -> Mask:
    """One mask of all: 1 where at least one is 1."""
    height, width = segmentation.size
    union = np.zeros((height, (width + 7) // 8), np.uint8)
    for masks in segmentation.masks:
        for mask in masks:
            union |= mask.packed
    return Mask.from_packed(union, segmentation.size, 0.0)


def _has_extent(contour: OuterContour) -> bool:
    width, height = np.ptp(contour.polygon, axis=0)
    return bool(width > 0 and height > 0)
