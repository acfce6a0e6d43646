"""Cleans masks: removes small regions, fills holes, and drops objects of the wrong size."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sampoll.config.settings.masks import MaskSettings
from sampoll.core.results import BoolMask, Mask, PixelBox, Segmentation

EIGHT, FOUR = 8, 4
"""Connectivity: pixels of an object are connected at edges and corners, those of a hole only at edges."""

Parts: TypeAlias = NDArray[Any]
"""Shape (N, 5): left, top, width, height and area of N connected parts, as OpenCV lists them."""


def clean(segmentation: Segmentation, settings: MaskSettings) -> Segmentation:
    """The same segmentation with cleaned masks; their number is unchanged, but some may become empty.

    The steps are in this order; areas and sizes are in pixels. Holes of less than `fill_holes_area` are
    filled. Connected parts of less than `remove_islands_area` are dropped, but never the largest one. Parts
    narrower or lower than `min_object_size`, or wider or higher than `max_object_size`, are dropped, even the
    largest one. With `largest_only`, only the part with the largest area of those left is kept.
    """
    if not cleans(settings):
        return segmentation
    masks = tuple(tuple(clean_mask(mask, settings) for mask in masks) for masks in segmentation.masks)
    return replace(segmentation, masks=masks)


def cleans(settings: MaskSettings) -> bool:
    """Whether masks are changed at all."""
    return settings.fill_holes_area > 0 or _chooses(settings)


def clean_mask(mask: Mask, settings: MaskSettings) -> Mask:
    """One mask, cleaned as by `clean`."""
    box = mask.box
    if box is None:
        return mask
    pixels = before = mask.pixels_in(box)
    if settings.fill_holes_area > 0:
        pixels = _without_holes(pixels, settings.fill_holes_area)
    if _chooses(settings):
        pixels = _with_parts(pixels, partial(_chosen, settings=settings))
    return mask if np.array_equal(pixels, before) else _placed(pixels, box, mask)


def _chooses(settings: MaskSettings) -> bool:
    """Whether connected parts may be dropped."""
    return bool(
        settings.remove_islands_area
        or settings.min_object_size
        or settings.max_object_size is not None
        or settings.largest_only
    )


def _chosen(parts: Parts, settings: MaskSettings) -> NDArray[np.bool_]:
    """Which of the parts stay, shape (N,)."""
    width, height, area = parts[:, cv2.CC_STAT_WIDTH], parts[:, cv2.CC_STAT_HEIGHT], parts[:, 4]
    chosen: NDArray[np.bool_] = area >= min(settings.remove_islands_area, area.max())
    chosen &= np.minimum(width, height) >= settings.min_object_size
    if settings.max_object_size is not None:
        chosen &= np.maximum(width, height) <= settings.max_object_size
    if settings.largest_only and chosen.any():
        largest = np.argmax(np.where(chosen, area, 0))
        chosen = np.arange(len(parts)) == largest
    return chosen


def _without_holes(pixels: BoolMask, area: int) -> BoolMask:
    """`pixels` with holes of less than `area` pixels filled."""
    # The border connects everything outside the object, which is not a hole, even if it is small.
    background = cv2.copyMakeBorder((~pixels).view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(background, connectivity=FOUR)
    is_hole = stats[:, cv2.CC_STAT_AREA] < area
    is_hole[[0, labels[0, 0]]] = False
    filled: BoolMask = pixels | is_hole[labels[1:-1, 1:-1]]
    return filled


def _with_parts(pixels: BoolMask, chosen: Callable[[Parts], NDArray[np.bool_]]) -> BoolMask:
    """`pixels` with only the connected parts that `chosen` selects."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(pixels.view(np.uint8), connectivity=EIGHT)
    stays = np.zeros(len(stats), np.bool_)
    stays[1:] = chosen(stats[1:])  # 0 is the background
    kept: BoolMask = stays[labels]
    return kept


def _placed(pixels: BoolMask, box: PixelBox, mask: Mask) -> Mask:
    """`mask` with its pixels inside `box`, its own box, replaced by `pixels`."""
    whole = np.zeros(mask.size, np.bool_)
    whole[box.top : box.bottom + 1, box.left : box.right + 1] = pixels
    return mask.with_pixels(whole)
