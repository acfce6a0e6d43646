"""Outlines along the edges of pixels, for formats that count these."""

from collections.abc import Iterator

import cv2
import numpy as np

from sampoll.core.results import Mask
from sampoll.formats.geometry.simplify import Points, simplified


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
