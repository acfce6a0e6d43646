"""Masks as polygons that give the mask back when they are filled."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sampoll.results import BoolMask, PixelBox

Polygon: TypeAlias = list[list[int]]
"""[[x, y], ...] in image pixels, at least three, implicitly closed: the first is not repeated at the end."""


@dataclass(frozen=True, slots=True)
class OuterContour:
    """The outline of one connected part of a mask, through the centres of its border pixels."""

    polygon: Polygon
    box: PixelBox


def outer_contours(mask: BoolMask) -> Iterator[OuterContour]:
    """One contour for each 8-connected part of a mask of shape (H, W), parts inside holes included.

    Filling the polygons with their borders (cv2.fillPoly) gives back the mask with its holes filled.
    """
    # CCOMP and not EXTERNAL: the latter leaves out parts that lie in a hole of another one.
    contours, hierarchy = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if hierarchy is None:
        return
    parents = hierarchy.reshape(-1, 4)[:, 3]
    for contour, parent in zip(contours, parents, strict=True):
        if parent == -1:  # a hole has the part around it as its parent
            points = contour.reshape(-1, 2).astype(np.int32)
            yield OuterContour(
                _at_least_three(points.tolist()), _box_around(points, mask.shape[1], mask.shape[0])
            )


def _at_least_three(points: Polygon) -> Polygon:
    """A single pixel or a straight line, its last point repeated: what it fills stays the same."""
    return points + points[-1:] * (3 - len(points))


def _box_around(points: NDArray[np.int32], width: int, height: int) -> PixelBox:
    """The box of the points; no side of it is zero, because readers refuse that."""
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    left, right = _widened(left, right, width)
    top, bottom = _widened(top, bottom, height)
    return PixelBox(left, top, right, bottom)


def _widened(low: int, high: int, extent: int) -> tuple[int, int]:
    if low < high:
        return low, high
    return (low - 1, high) if high + 1 >= extent and low > 0 else (low, high + 1)
