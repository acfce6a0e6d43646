"""Segments all objects in an image: prompts with a grid of points, and selects the best masks.

The same steps as in segment_anything's SamAutomaticMaskGenerator for a single crop.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.utils.amg import build_point_grid, calculate_stability_score, remove_small_regions
from torch import Tensor
from torchvision.ops import nms

from sampoll.core.jobs import Everything, Point, Prompt
from sampoll.core.results import Mask
from sampoll.models.shared.packed_bits import packed_bits

NO_BOX = (0, 0, 0, 0)


def grid_prompts(everything: Everything, size: tuple[int, int]) -> list[Prompt]:
    """A prompt for each point of the grid, row by row; `size` is the image's (H, W)."""
    height, width = size
    places = build_point_grid(everything.points_per_side) * (width, height)
    return [Prompt(points=(Point(float(x), float(y), 1),)) for x, y in places]


@dataclass(frozen=True)
class Stable:
    """Masks that were good enough: bits (K, H, W / 8) and predicted IoUs (K,), on the device."""

    bits: Tensor
    scores: Tensor


def stable_masks(logits: Tensor, scores: Tensor, everything: Everything, threshold: float) -> Stable:
    """The masks of logits (K, H, W) that are stable: a small change of the threshold changes them little."""
    stability = calculate_stability_score(logits, threshold, everything.stability_score_offset)
    if everything.stability_score_thresh > 0:
        is_stable = stability >= everything.stability_score_thresh
        logits, scores = logits[is_stable], scores[is_stable]
    return Stable(packed_bits(logits > threshold), scores)


def is_good(scores: Tensor, everything: Everything) -> Tensor:
    """Which predicted IoUs are high enough."""
    if everything.pred_iou_thresh == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    return scores > everything.pred_iou_thresh


def chosen_masks(
    found: list[tuple[NDArray[np.uint8], float]], everything: Everything, size: tuple[int, int]
) -> list[Mask]:
    """Masks from packed bits and scores, the best first, without near-duplicates of better masks."""
    masks = [Mask.from_packed(bits, size, score) for bits, score in found]
    masks = _without_overlaps(masks, [mask.score for mask in masks], everything.box_nms_thresh)
    if everything.min_mask_region_area == 0:
        return masks
    cleaned = [_without_small_regions(mask, everything.min_mask_region_area) for mask in masks]
    # Masks that needed no cleaning are preferred.
    unchanged = [float(clean is mask) for clean, mask in zip(cleaned, masks, strict=True)]
    return _without_overlaps(cleaned, unchanged, everything.box_nms_thresh)


def _without_overlaps(masks: list[Mask], ranks: list[float], box_nms_thresh: float) -> list[Mask]:
    """Keeps the highest-ranked of masks whose boxes overlap by more than the threshold; sorted by rank."""
    if not masks:
        return []
    boxes = torch.tensor(list(_corners(masks)), dtype=torch.float32)
    kept = nms(boxes, torch.tensor(ranks, dtype=torch.float32), box_nms_thresh)
    return [masks[index] for index in kept.tolist()]


def _corners(masks: list[Mask]) -> Iterator[tuple[int, int, int, int]]:
    for mask in masks:
        box = mask.box
        yield NO_BOX if box is None else (box.left, box.top, box.right, box.bottom)


def _without_small_regions(mask: Mask, area: int) -> Mask:
    """The mask without small holes and islands; the same object if it has none."""
    pixels, had_holes = remove_small_regions(mask.pixels(), area, "holes")
    pixels, had_islands = remove_small_regions(pixels, area, "islands")
    return Mask.from_array(pixels, mask.score) if had_holes or had_islands else mask
