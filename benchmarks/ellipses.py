"""Models whose masks are ellipses, with contours as long as those of real objects."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from sampoll.core.jobs import Prompt, RgbImage
from sampoll.core.results import BoolMask, Mask, ModelInfo

if TYPE_CHECKING:
    from sampoll.models.shared.network import Embedding
    from sampoll.models.shared.segmenter import PromptableSegmenter


class Ellipses:
    """Takes no time: each mask is the ellipse in the middle of the image."""

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("ellipses")

    def embed(self, images: Sequence[RgbImage]) -> list[tuple[int, int]]:
        return [(image.shape[0], image.shape[1]) for image in images]

    def decode(self, work: Sequence[tuple[tuple[int, int], Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        return [[[Mask.from_array(ellipse(size), 0.9)] for _ in prompts] for size, prompts in work]


class SamWithEllipses:
    """Does all that SAM does, and answers with ellipses: masks of random weights are noise, whose contours
    are longer than those of any real object."""

    def __init__(self, sam: "PromptableSegmenter") -> None:
        self._sam = sam

    @property
    def info(self) -> ModelInfo:
        return self._sam.info

    def embed(self, images: Sequence[RgbImage]) -> "list[Embedding]":
        return self._sam.embed(images)

    def decode(self, work: "Sequence[tuple[Embedding, Sequence[Prompt]]]") -> list[list[list[Mask]]]:
        self._sam.decode(work)
        return Ellipses().decode([(embedding.original_size, prompts) for embedding, prompts in work])


@cache
def ellipse(size: tuple[int, int]) -> BoolMask:
    """A mask of this size, (H, W)."""
    height, width = size
    y, x = np.ogrid[:height, :width]
    # Compared in one step: an array of float64 would be the largest of a run with large images.
    inside: BoolMask = (x / width - 0.5) ** 2 < 0.1 - (y / height - 0.5) ** 2
    return inside
