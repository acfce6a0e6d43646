"""Masks by OpenCV's GrabCut.

Colours inside and outside the prompt become two mixture models, and a graph cut draws the border between
them. Good on objects that differ in colour from what surrounds them; it knows nothing about what objects are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sampoll.core.jobs import Box, Prompt, RgbImage
from sampoll.core.protocols import TakeMasks
from sampoll.core.results import BoolMask, Mask, ModelInfo
from sampoll.models.shared.gathering import gathered

MAX_SIDE = 320
"""Crops are scaled down to at most this many pixels a side, so that no cut takes a second."""
ITERATIONS = 4
BOX_MARGIN = 0.25
"""Margin on each side, as a share of the box's size: background to distinguish the object's colours from."""
GUESS_RADIUS = 0.08
"""Of the crop's longer side: without a box, pixels this near to a foreground point start as its object."""
POINT_RADIUS = 0.015
"""Of the crop's longer side: pixels this near to a point are taken to be of its label."""
SEED = 1
_NO_RECTANGLE = (0, 0, 0, 0)

Labels: TypeAlias = NDArray[np.uint8]
"""Shape (h, w), uint8: cv2.GC_BGD, GC_FGD, GC_PR_BGD or GC_PR_FGD."""


class GrabCutSegmenter:
    """The embedding is the image itself.

    A mask's score is the IoU between the last two iterations of the cut: how settled the mask is. It says
    nothing about whether the mask is the object that was meant; an empty mask scores 0.
    """

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("grabcut")

    def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
        return list(images)

    def decode(self, work: Sequence[tuple[RgbImage, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        return gathered(self.decode_into, work)

    def decode_into(self, work: Sequence[tuple[RgbImage, Sequence[Prompt]]], take: TakeMasks) -> None:
        for index, (image, prompts) in enumerate(work):
            for number, prompt in enumerate(prompts):
                take(index, number, [segment(image, prompt)])


@dataclass(frozen=True, slots=True)
class _Crop:
    """A part of an image, in whole pixels, and the scale at which it is cut."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def scale(self) -> float:
        return min(1.0, MAX_SIDE / max(self.right - self.left, self.bottom - self.top))

    def of(self, image: RgbImage) -> RgbImage:
        """The crop's pixels, shape (h, w, 3), scaled down."""
        part = np.ascontiguousarray(image[self.top : self.bottom, self.left : self.right])
        if self.scale == 1:
            return part
        size = [max(1, round(side * self.scale)) for side in (part.shape[1], part.shape[0])]
        return cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.uint8)

    def back(self, mask: BoolMask, shape: tuple[int, int]) -> BoolMask:
        """A mask of the scaled crop in the frame of the whole image, shape (H, W)."""
        whole = np.zeros(shape, np.bool_)
        size = (self.right - self.left, self.bottom - self.top)
        scaled = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_LINEAR) > 127
        whole[self.top : self.bottom, self.left : self.right] = scaled
        return whole

    def column(self, x: float) -> float:
        return (x - self.left) * self.scale

    def row(self, y: float) -> float:
        return (y - self.top) * self.scale


def segment(image: RgbImage, prompt: Prompt) -> Mask:
    """The mask of one prompt, of the image's size. The same call always gives the same mask."""
    crop = _crop_around(prompt, image.shape[1], image.shape[0])
    pixels = crop.of(image)
    labels = _initial_labels(prompt, crop, (pixels.shape[0], pixels.shape[1]))
    before, after = _cut(pixels, labels)
    mask = _near_the_prompt(after, prompt, crop)
    score = _iou(_near_the_prompt(before, prompt, crop), mask)
    return Mask.from_array(crop.back(mask, (image.shape[0], image.shape[1])), score)


def _crop_around(prompt: Prompt, width: int, height: int) -> _Crop:
    """The box and its margin, and every point; the whole image where there is no box."""
    if prompt.box is None:
        return _Crop(0, 0, width, height)
    box = prompt.box
    margin_x, margin_y = BOX_MARGIN * (box.x1 - box.x0), BOX_MARGIN * (box.y1 - box.y0)
    columns = [box.x0 - margin_x, box.x1 + margin_x, *(point.x for point in prompt.points)]
    rows = [box.y0 - margin_y, box.y1 + margin_y, *(point.y for point in prompt.points)]
    return _Crop(
        max(0, int(min(columns)) - 1),
        max(0, int(min(rows)) - 1),
        min(width, int(max(columns)) + 2),
        min(height, int(max(rows)) + 2),
    )


def _initial_labels(prompt: Prompt, crop: _Crop, shape: tuple[int, int]) -> Labels:
    """The label that the prompt gives each pixel before the first cut."""
    labels = np.full(shape, cv2.GC_PR_BGD, np.uint8)
    side = max(shape)
    if prompt.box is not None:
        labels[:] = cv2.GC_BGD
        box = _scaled(prompt.box, crop)
        labels[box] = cv2.GC_PR_FGD
    else:
        for point in prompt.points:
            if point.label == 1:
                _disk(labels, crop.column(point.x), crop.row(point.y), GUESS_RADIUS * side, cv2.GC_PR_FGD)
    for point in prompt.points:
        label = cv2.GC_FGD if point.label == 1 else cv2.GC_BGD
        _disk(labels, crop.column(point.x), crop.row(point.y), POINT_RADIUS * side, label)
    return labels


def _scaled(box: Box, crop: _Crop) -> tuple[slice, slice]:
    """The pixels of a box in the scaled crop, at least one each way."""
    left, right = max(0, int(crop.column(box.x0))), crop.column(box.x1)
    top, bottom = max(0, int(crop.row(box.y0))), crop.row(box.y1)
    return slice(top, max(top + 1, round(bottom))), slice(left, max(left + 1, round(right)))


def _disk(labels: Labels, x: float, y: float, radius: float, label: int) -> None:
    cv2.circle(labels, (int(x), int(y)), round(radius), label, thickness=-1)


def _cut(pixels: RgbImage, labels: Labels) -> tuple[BoolMask, BoolMask]:
    """The object after the last iteration but one, and after the last."""
    if not _has_both_sides(labels):
        only = _is_object(labels)
        return only, only
    cv2.setRNGSeed(SEED)  # the mixture models start from a random k-means
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(pixels, labels, _NO_RECTANGLE, background, foreground, ITERATIONS - 1, cv2.GC_INIT_WITH_MASK)
    before = _is_object(labels)
    if _has_both_sides(labels):
        cv2.grabCut(pixels, labels, _NO_RECTANGLE, background, foreground, 1, cv2.GC_EVAL)
    return before, _is_object(labels)


def _is_object(labels: Labels) -> BoolMask:
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _has_both_sides(labels: Labels) -> bool:
    """GrabCut cannot learn colours from no pixels."""
    inside = _is_object(labels)
    return bool(inside.any() and not inside.all())


def _near_the_prompt(mask: BoolMask, prompt: Prompt, crop: _Crop) -> BoolMask:
    """Without a box, only the connected parts that hold a foreground point: the same colours may lie
    anywhere."""
    seeds = [point for point in prompt.points if point.label == 1]
    if prompt.box is not None or not seeds:
        return mask
    _, parts = cv2.connectedComponents(mask.astype(np.uint8))
    height, width = mask.shape
    wanted = {
        int(parts[min(height - 1, int(crop.row(p.y))), min(width - 1, int(crop.column(p.x)))]) for p in seeds
    }
    return np.isin(parts, list(wanted - {0}))


def _iou(a: BoolMask, b: BoolMask) -> float:
    union = int(np.count_nonzero(a | b))
    return float(np.count_nonzero(a & b) / union) if union else 0.0
