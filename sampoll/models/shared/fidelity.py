"""Accuracy and speed of the faster variants, compared with segment_anything in float32."""

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from sampoll.core.jobs import Box, Point, Prompt, RgbImage
from sampoll.core.results import BoolMask


class ComparableSegmenter(Protocol):
    """A segmenter whose embeddings and candidates can be compared with the original's.

    An embedding has its `levels`, the first of shape (C, S, S). `candidates` are all three masks of a prompt, in host
    memory: low-res logits (3, 256, 256), predicted IoUs (3,), and pixels (3, H, W).
    """

    def embed(self, images: Sequence[RgbImage]) -> list[Any]: ...

    def candidates(
        self, embedding: Any, prompt: Prompt
    ) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.bool_]]: ...


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
        """Relative L2, the mean over images."""
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
        """The share of prompts for which another of the three masks is chosen."""
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
    original: Sam, variants: Mapping[str, ComparableSegmenter], images: Iterable[RgbImage]
) -> tuple[list[float], dict[str, Fidelity]]:
    """The original's seconds per image, and what each variant does differently; all take turns at each image.

    `original` and the variants must not share modules: a variant may change the precision of its own.
    """
    predictor = SamPredictor(original)
    seconds: list[float] = []
    found = {name: Fidelity() for name in variants}
    for image in images:
        begun = time.perf_counter()
        predictor.set_image(image)
        _wait_for(original.device)
        seconds.append(time.perf_counter() - begun)
        answers = [_Answer.of(predictor, prompt) for prompt in grid_of_prompts(image)]
        for name, variant in variants.items():
            _compare(variant, found[name], image, predictor.features[0], answers)
    return seconds, found


@dataclass(frozen=True)
class _Answer:
    """The original's: three low-res logits (3, 256, 256), which of them it chooses, and that mask."""

    prompt: Prompt
    logits: NDArray[np.float32]
    chosen: int
    mask: BoolMask

    @classmethod
    def of(cls, predictor: SamPredictor, prompt: Prompt) -> "_Answer":
        box = prompt.box
        masks, scores, logits = predictor.predict(
            point_coords=np.array([[p.x, p.y] for p in prompt.points]) if prompt.points else None,
            point_labels=np.array([p.label for p in prompt.points]) if prompt.points else None,
            box=np.array([box.x0, box.y0, box.x1, box.y1]) if box else None,
        )
        chosen = int(scores.argmax())
        return cls(prompt, logits, chosen, masks[chosen])


def _compare(
    variant: ComparableSegmenter,
    found: Fidelity,
    image: RgbImage,
    features: torch.Tensor,
    answers: Sequence[_Answer],
) -> None:
    begun = time.perf_counter()
    [embedding] = variant.embed([image])
    _wait_for(embedding.levels[0].device)
    found.seconds.append(time.perf_counter() - begun)
    found.embedding_errors.append(_relative_error(embedding.levels[0].cpu(), features.cpu()))
    for answer in answers:
        logits, scores, masks = variant.candidates(embedding, answer.prompt)
        theirs = torch.from_numpy(answer.logits[answer.chosen])
        found.logits_errors.append(_relative_error(logits[answer.chosen], theirs))
        found.flips.append(int(scores.argmax()) != answer.chosen)
        found.ious.append(_iou(masks[answer.chosen], answer.mask))


def _relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def _iou(ours: BoolMask, theirs: BoolMask) -> float:
    union = int((ours | theirs).sum())
    return int((ours & theirs).sum()) / union if union else 1.0


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
