"""What a detector is: images once into features, and features with words into boxes."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import nms

from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Box, RgbImage
from sampoll.models.shared.checkpoint_file import read_tensors
from sampoll.models.shared.hub_directory import weights_in
from sampoll.models.shared.hub_model import (
    documents_sha256,
    imported_transformers,
    part_of,
    tokenizer_of,
    with_weights,
)


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What a detector makes of an image before it knows the words: float32 tensors, the (H, W) of the image,
    and that of what the detector saw."""

    tensors: tuple[Tensor, ...] = field(repr=False)
    size: tuple[int, int]
    seen_size: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Everything that a detector proposes for words, also what is most unlikely: boxes (N, 4), corners in
    image pixels, and scores (N,), 0 to 1."""

    boxes: NDArray[np.float32] = field(repr=False)
    scores: NDArray[np.float32] = field(repr=False)

    def best(
        self, threshold: float, size: tuple[int, int], overlap: float = 1
    ) -> Iterator[tuple[Box, float]]:
        """The parts of boxes inside an image of size (H, W), with at least this score, and their scores: the
        highest first. Of those whose IoU is larger than `overlap`, the best one."""
        height, width = size
        boxes = np.clip(self.boxes, 0, np.array([width, height, width, height], np.float32))
        is_there = (boxes[:, :2] < boxes[:, 2:]).all(axis=1) & (self.scores >= threshold)
        boxes, scores = boxes[is_there], self.scores[is_there]
        for index in nms(torch.from_numpy(boxes), torch.from_numpy(scores), overlap).tolist():
            yield Box(*map(float, boxes[index])), float(scores[index])


class Detector(Protocol):
    """Its methods are called inside DeviceCalls of its device."""

    name: str
    sha256: str
    """One digest of its weights and of all else in its directory that answers depend on."""
    threshold: float
    """The lowest score of a box, where a prompt does not say it."""
    preprocessing: int
    """Increased when the same image gives other features than before."""

    @property
    def features_bytes(self) -> int:
        """The memory that the features of an image take, at most."""

    def features(self, images: Sequence[RgbImage]) -> list[Features]: ...

    def found(self, work: Sequence[tuple[Features, str]]) -> Iterator[tuple[int, Found]]:
        """What is found for each pair, with the index of the pair, in any order. BadPrompt if a text is
        longer than the model takes: no text is cut."""


@dataclass(frozen=True)
class HubParts:
    """A model with its weights, and what stands before it: the tokenizer and the image processor."""

    model: Any
    tokenizer: Any
    processor: Any
    sha256: str


def loaded_parts(model_name: str, directory: Path, device: torch.device) -> HubParts:
    """The parts of a directory. ModelUnavailable if one is missing, or weights are."""
    transformers = imported_transformers("--detector")
    weights, sha256 = read_tensors(weights_in(directory))
    config = part_of(transformers.AutoConfig, directory, "configuration")
    model = with_weights(getattr(transformers, model_name), config, weights, directory)
    return HubParts(
        model.to(device),
        tokenizer_of(transformers, directory),
        part_of(transformers.AutoImageProcessor, directory, "image processor"),
        hashlib.sha256(f"{documents_sha256(directory)} {sha256}".encode()).hexdigest(),
    )


def check_length(text: str, tokens: int, at_most: int) -> None:
    """BadPrompt if a text has more tokens than the model takes."""
    if tokens > at_most:
        raise BadPrompt(
            f"the text {text!r} has {tokens} tokens, and the model takes {at_most}", advice="shorten it"
        )


def pixels_of(processor: Any, image: RgbImage, device: torch.device) -> Tensor:
    """What the model gets of one image, (1, 3, h, w), by its own processor."""
    inputs = processor(images=image, return_tensors="pt", input_data_format="channels_last")
    pixels: Tensor = inputs["pixel_values"]
    return pixels.to(device)
