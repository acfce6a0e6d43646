"""Accuracy and speed of the faster variants, compared with the original model in float32."""

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from sampoll.core.jobs import Box, Point, Prompt, RgbImage
from sampoll.core.results import BoolMask, ModelInfo
from sampoll.models.shared.mask_making import Array


class ComparableSegmenter(Protocol):
    """A segmenter whose embeddings and candidates can be compared with those of another one.

    An embedding has its `levels`, tensors or arrays of any shapes. `candidates` are all C masks that the
    model gives for a prompt, in host memory: low-res logits (C, h, w), predicted IoUs (C,), and pixels
    (C, H, W). Of two segmenters with the same weights, levels and candidates have the same shapes.
    """

    @property
    def info(self) -> ModelInfo: ...

    def embed(self, images: Sequence[RgbImage]) -> list[Any]: ...

    def candidates(self, embedding: Any, prompt: Prompt) -> tuple[Array, Array, NDArray[np.bool_]]: ...


def way_of(segmenter: ComparableSegmenter) -> str:
    """How a segmenter computes: "torch, bf16", for example."""
    return f"{segmenter.info.engine}, {segmenter.info.precision}"


@dataclass(frozen=True)
class Gate:
    """What a precision may change. `logits` is a relative L2, `iou` a mean and `flips` a share of prompts."""

    logits: float
    iou: float
    flips: float


EXACT = Gate(1e-4, 0.9999, 0.001)
DEFAULT = Gate(2e-2, 0.998, 0.015)
FAST = Gate(float("inf"), 0.985, 0.03)
GATES = {"fp32": EXACT, "bf16": DEFAULT, "fp16": DEFAULT, "int8": FAST}


@dataclass
class Fidelity:
    """One variant against the original, over all images and prompts so far."""

    seconds: list[float] = field(default_factory=list)
    embedding_errors: list[float] = field(default_factory=list)
    logits_errors: list[float] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    flips: list[bool] = field(default_factory=list)

    @property
    def median_seconds(self) -> float:
        """The median seconds to compute the embedding of an image from its pixels."""
        return statistics.median(self.seconds)

    @property
    def embedding_error(self) -> float:
        """Relative L2 of the level that is furthest off, the mean over images."""
        return statistics.fmean(self.embedding_errors)

    @property
    def logits_error(self) -> float:
        """Relative L2 of the low-res logits of the mask that the original chooses, the mean over prompts."""
        return statistics.fmean(self.logits_errors)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the mask that the original chooses and the variant's mask of the same index."""
        return statistics.fmean(self.ious)

    @property
    def flipped(self) -> float:
        """The share of prompts for which another of the masks is chosen; 0 for models that give only one."""
        return statistics.fmean(self.flips)

    def broken(self, gate: Gate) -> list[str]:
        """The names of the limits that the variant exceeds."""
        kept = {
            "logits": self.logits_error <= gate.logits,
            "IoU": self.mean_iou >= gate.iou,
            "flips": self.flipped <= gate.flips,
        }
        return [name for name, is_kept in kept.items() if not is_kept]


def grid_of_prompts(image: RgbImage) -> list[Prompt]:
    """Nine points and five boxes, the same for every image of one size."""
    height, width = image.shape[:2]
    quarters = [(x, y) for y in (1, 2, 3) for x in (1, 2, 3)]
    points = [Prompt(points=(Point(x * width / 4, y * height / 4, 1),)) for x, y in quarters]
    corners = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (0.25, 0.25)]
    boxes = [
        Prompt(box=Box(x * width, y * height, (x + 0.5) * width, (y + 0.5) * height)) for x, y in corners
    ]
    return points + boxes


def compare(
    original: ComparableSegmenter, variants: Mapping[str, ComparableSegmenter], images: Iterable[RgbImage]
) -> tuple[list[float], dict[str, Fidelity]]:
    """The original's seconds per image, and what each variant does differently; all take turns at each image.

    `original` and the variants must not share modules: a variant may change the precision of its own.
    """
    seconds: list[float] = []
    found = {name: Fidelity() for name in variants}
    for image in images:
        embedding = _embedded(original, image, seconds)
        answers = [
            _Answer(prompt, *original.candidates(embedding, prompt)) for prompt in grid_of_prompts(image)
        ]
        for name, variant in variants.items():
            _compare(variant, found[name], image, embedding.levels, answers)
    return seconds, found


@dataclass(frozen=True)
class _Answer:
    """The original's candidates for a prompt."""

    prompt: Prompt
    logits: Array  # (C, h, w)
    scores: Array  # (C,)
    masks: NDArray[np.bool_]  # (C, H, W)

    @property
    def chosen(self) -> int:
        return int(self.scores.argmax())


def _embedded(segmenter: ComparableSegmenter, image: RgbImage, seconds: list[float]) -> Any:
    """The embedding of an image; appends how long it took."""
    begun = time.perf_counter()
    [embedding] = segmenter.embed([image])
    _wait_for(embedding.levels[0])
    seconds.append(time.perf_counter() - begun)
    return embedding


def _compare(
    variant: ComparableSegmenter,
    found: Fidelity,
    image: RgbImage,
    levels: Sequence[Array],
    answers: Sequence[_Answer],
) -> None:
    embedding = _embedded(variant, image, found.seconds)
    both = zip(embedding.levels, levels, strict=True)
    found.embedding_errors.append(max(_relative_error(ours, theirs) for ours, theirs in both))
    for answer in answers:
        logits, scores, masks = variant.candidates(embedding, answer.prompt)
        chosen = answer.chosen
        found.logits_errors.append(_relative_error(logits[chosen], answer.logits[chosen]))
        found.flips.append(int(scores.argmax()) != chosen)
        found.ious.append(_iou(masks[chosen], answer.masks[chosen]))


def _relative_error(ours: Array, theirs: Array) -> float:
    first, second = (torch.as_tensor(each).cpu() for each in (ours, theirs))
    return float((first - second).norm() / second.norm())


def _iou(ours: BoolMask, theirs: BoolMask) -> float:
    union = int((ours | theirs).sum())
    return int((ours & theirs).sum()) / union if union else 1.0


def _wait_for(level: Array) -> None:
    if isinstance(level, torch.Tensor) and level.is_cuda:
        torch.cuda.synchronize(level.device)
