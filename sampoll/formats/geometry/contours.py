"""Masks as polygons that give the mask back when they are filled."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sampoll.core.results import Mask, PixelBox
from sampoll.formats.geometry.simplify import simplified

Polygon: TypeAlias = NDArray[np.int32]
"""Shape (N, 2), x and y in image pixels, implicitly closed: the first is not repeated at the end."""


@dataclass(frozen=True, slots=True)
class OuterContour:
    """The outline of one connected part of a mask, through the centres of its border pixels; at least three
    points."""

    polygon: Polygon
    box: PixelBox


def outer_contours(mask: Mask, simplify_pixels: float = 0.0) -> Iterator[OuterContour]:
    """One contour for each 8-connected part of a mask, parts inside holes included.

    Filling the polygons with their borders (cv2.fillPoly) gives back the mask with its holes filled. With
    `simplify_pixels`, points are left out, and no point of the exact outline is farther than that from what
    stays; boxes stay exact.
    """
    height, width = mask.size
    for points, *_ in rings_of_parts(mask):
        polygon = at_least_three(simplified(points, simplify_pixels))
        yield OuterContour(polygon, _box_around(points, width, height))


def rings_of_parts(mask: Mask) -> Iterator[list[Polygon]]:
    """For each 8-connected part of a mask its outline, and then those of its holes, all of them through the
    centres of the part's own pixels."""
    if mask.box is None:
        return
    pixels = mask.pixels_in(mask.box).view(np.uint8)
    # CCOMP and not EXTERNAL: the latter leaves out parts that lie in a hole of another one.
    contours, hierarchy = cv2.findContours(
        pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(mask.box.left, mask.box.top)
    )
    rings = [contour.reshape(-1, 2).astype(np.int32, copy=False) for contour in contours]
    parents = hierarchy.reshape(-1, 4)[:, 3].tolist()  # a hole has the part around it as its parent
    parts = {index: [ring] for index, ring in enumerate(rings) if parents[index] == -1}
    for ring, parent in zip(rings, parents, strict=True):
        if parent != -1:
            parts[parent].append(ring)
    yield from parts.values()


def at_least_three(points: Polygon) -> Polygon:
    """Repeats points of a single pixel or straight line until there are three; fills the same pixels."""
    return points if len(points) >= 3 else np.resize(points, (3, 2))


def _box_around(points: Polygon, width: int, height: int) -> PixelBox:
    """The box of the points; no side of it is zero, because readers refuse that."""
    left, top, extent_x, extent_y = cv2.boundingRect(points)
    left, right = _widened(left, left + extent_x - 1, width)
    top, bottom = _widened(top, top + extent_y - 1, height)
    return PixelBox(left, top, right, bottom)


def _widened(low: int, high: int, extent: int) -> tuple[int, int]:
    if low < high:
        return low, high
    return (low - 1, high) if high + 1 >= extent and low > 0 else (low, high + 1)
