"""Outlines for formats that have one closed ring an object, or count the edges of pixels."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from sampoll.core.results import Mask
from sampoll.formats.geometry.contours import Polygon
from sampoll.formats.geometry.simplify import Points, simplified

MAX_CANDIDATES = 256
"""Points of a ring among which the end of a cut is chosen."""


def joined(rings: Sequence[Polygon]) -> Polygon:
    """One ring through all rings, connected by cuts that are traversed in both directions.

    Filling it by the even-odd rule, with its border, gives the same pixels as filling the rings, and also the
    cuts, which are one pixel wide.
    """
    whole = rings[0]
    for ring in rings[1:]:
        here, there = _nearest(whole, ring)
        around = np.concatenate([ring[there:], ring[: there + 1]])
        whole = np.concatenate([whole[: here + 1], around, whole[here:]])
    return whole


def _nearest(ring: Polygon, other: Polygon) -> tuple[int, int]:
    """The indices of two points near each other, on the one ring and on the other."""
    some, others = (np.arange(0, len(r), -(-len(r) // MAX_CANDIDATES)) for r in (ring, other))
    distances = ((ring[some, None].astype(np.int64) - other[None, others]) ** 2).sum(axis=2)
    nearest, nearest_other = np.unravel_index(np.argmin(distances), distances.shape)
    return int(some[nearest]), int(others[nearest_other])


def edge_polygons(mask: Mask, simplify_pixels: float = 0.0) -> Iterator[Points]:
    """For each 8-connected part of a mask its outline along the edges of pixels, holes filled: pixel x
    reaches from x to x + 1, as in COCO's polygons."""
    if mask.box is None:
        return
    finer = mask.pixels_in(mask.box).view(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(finer, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for contour, parent in zip(contours, hierarchy.reshape(-1, 4)[:, 3], strict=True):
        if parent == -1:
            # In half pixels, even ones lie at the left and top of a pixel, odd ones at its right and bottom.
            edges = (contour.reshape(-1, 2) + 1) // 2 + (mask.box.left, mask.box.top)
            is_new = (edges != np.roll(edges, 1, axis=0)).any(axis=1)
            yield simplified(edges[is_new], simplify_pixels)
