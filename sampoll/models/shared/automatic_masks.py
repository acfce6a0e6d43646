"""Segments all objects in an image: prompts with a grid of points, and selects the best masks.

The same steps as in segment_anything's SamAutomaticMaskGenerator for a single crop.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import torch
from segment_anything.utils.amg import build_point_grid, calculate_stability_score, remove_small_regions
from torch import Tensor
from torchvision.ops import nms

from sampoll.config.settings.limits import MASK_BYTES
from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Everything, Point, Prompt
from sampoll.core.results import Mask, PixelBox
from sampoll.models.shared.mask_making import Array
from sampoll.models.shared.packed_bits import packed_bits
from sampoll.models.shared.thresholds import MaskThresholds

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


def stable_masks(
    logits: Array, scores: Array, thresholds: MaskThresholds, offset: float, threshold: float
) -> Stable:
    """The masks of logits (K, h, w) that are stable: a change of the threshold by `offset` changes them
    little."""
    logits, scores = torch.as_tensor(logits), torch.as_tensor(scores)
    stability = calculate_stability_score(logits, threshold, offset)
    if thresholds.stability_score > 0:
        is_stable = stability >= thresholds.stability_score
        logits, scores = logits[is_stable], scores[is_stable]
    return Stable(packed_bits(logits > threshold), scores)


def good_ones(scores: Array, thresholds: MaskThresholds) -> Array | slice:
    """The index of those whose predicted IoUs are high enough."""
    return slice(None) if thresholds.pred_iou == 0 else scores > thresholds.pred_iou


class Candidates:
    """The masks that were found so far in an image of `size` (H, W), compressed.

    Of those with the same box only the best one is kept, because no other can be chosen.
    """

    def __init__(self, everything: Everything, size: tuple[int, int]) -> None:
        self._size = size
        self._same_boxes_overlap = everything.box_nms_thresh < 1
        self._found: dict[int, Mask] = {}
        self._number_of: dict[PixelBox, int] = {}
        self._numbers = count()
        self._bytes = 0

    def add(self, stable: Stable) -> None:
        """BadPrompt if the candidates take more than MASK_BYTES."""
        for bits, score in zip(stable.bits.cpu().numpy(), stable.scores.tolist(), strict=True):
            self._add(Mask.from_packed(bits, self._size, score))

    def _add(self, mask: Mask) -> None:
        number = next(self._numbers)
        if self._same_boxes_overlap and mask.box is not None and _has_area(mask.box):
            rival = self._number_of.get(mask.box)
            if rival is not None and self._found[rival].score >= mask.score:
                return
            if rival is not None:
                self._bytes -= self._found.pop(rival).nbytes
            self._number_of[mask.box] = number
        compressed = self._found[number] = mask.compressed()
        self._bytes += compressed.nbytes
        if self._bytes > MASK_BYTES:
            raise BadPrompt(
                f"its candidates take more than {MASK_BYTES} bytes: lower points_per_side, or raise "
                "pred_iou_thresh or stability_score_thresh",
                field="everything",
            )

    def masks(self) -> list[Mask]:
        """In the order in which they were found."""
        return list(self._found.values())


def _has_area(box: PixelBox) -> bool:
    """Whether NMS, which takes the inclusive corners for those of an area, sees any overlap of this box."""
    return box.left < box.right and box.top < box.bottom


def chosen_masks(found: list[Mask], everything: Everything, advance: Callable[[], None]) -> list[Mask]:
    """Masks of `found`, the best first, without near-duplicates of better masks; calls `advance` for each one
    that is cleaned."""
    masks = _without_overlaps(found, [mask.score for mask in found], everything.box_nms_thresh)
    if everything.min_mask_region_area == 0:
        return masks
    cleaned = []
    for mask in masks:
        cleaned.append(_without_small_regions(mask, everything.min_mask_region_area))
        advance()
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
    return mask.with_pixels(pixels) if had_holes or had_islands else mask
