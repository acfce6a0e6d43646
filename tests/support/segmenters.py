"""Fake segmenters, and jobs for them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampoll.core.jobs import Job, Prompt, RgbImage
from sampoll.core.results import Mask, ModelInfo


def job_of(image: RgbImage, *prompts: Prompt, name: str = "a") -> Job:
    sha256 = hashlib.sha256(name.encode() + image.tobytes()).hexdigest()
    return Job(f"id-{name}", name, image, sha256, prompts, 0.0)


class BoxSegmenter:
    """Its masks are the boxes of the prompts, the pixels under their points, or, for `everything`, the cells
    of a grid; for words, a row for each of them except "nothing", with scores of 0.9, 0.8, ... It keeps the
    sizes of its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("boxes")

    def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
        self.batches.append(len(images))
        return list(images)

    def decode(self, work: Sequence[tuple[RgbImage, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        return [[_answer(image, prompt) for prompt in prompts] for image, prompts in work]


class KeptBoxes(BoxSegmenter):
    """Its embeddings count 1000 bytes each."""

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("kept")

    embedding_key = "boxes-1"
    embedding_bytes = 1000

    def image_size(self, embedding: RgbImage) -> tuple[int, int]:
        return embedding.shape[0], embedding.shape[1]

    def packed(self, embedding: RgbImage) -> Mapping[str, NDArray[Any]]:
        return {"image": embedding}

    def unpacked(self, arrays: Mapping[str, NDArray[Any]]) -> RgbImage:
        return arrays["image"]


def _answer(image: RgbImage, prompt: Prompt) -> list[Mask]:
    if prompt.text is not None:
        return _rows_of_words(image, prompt.text.split(), prompt.score_thresh or 0.0)
    if prompt.everything is None:
        return [_drawn(image, prompt)]
    side = prompt.everything.points_per_side
    rows, columns = (np.arange(length) * side // length for length in image.shape[:2])
    parts = rows[:, None] * side + columns
    return [Mask.from_array(parts == number, 0.5) for number in range(side**2)]


def _rows_of_words(image: RgbImage, words: Sequence[str], score_thresh: float) -> list[Mask]:
    rows = np.broadcast_to(np.arange(image.shape[0])[:, None], image.shape[:2])
    masks = [
        Mask.from_array(rows == row, 0.9 - row / 10) for row, word in enumerate(words) if word != "nothing"
    ]
    return [mask for mask in masks if mask.score >= score_thresh]


def _drawn(image: RgbImage, prompt: Prompt) -> Mask:
    pixels = np.zeros(image.shape[:2], np.bool_)
    if prompt.box:
        pixels[int(prompt.box.y0) : int(prompt.box.y1), int(prompt.box.x0) : int(prompt.box.x1)] = True
    for point in prompt.points:
        pixels[int(point.y), int(point.x)] = point.label == 1
    return Mask.from_array(pixels, 0.5)
