"""segment_anything's own predictor, with which faster variants are compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from sampoll.core.jobs import Prompt, RgbImage
from sampoll.core.results import ModelInfo


@dataclass(frozen=True, eq=False)
class PredictedImage:
    """An image in a predictor of its own; its only level is (256, 64, 64)."""

    predictor: SamPredictor

    @property
    def levels(self) -> tuple[torch.Tensor, ...]:
        return (self.predictor.features[0],)


class OriginalSam:
    """A ComparableSegmenter, in float32."""

    def __init__(self, sam: Sam) -> None:
        self._sam = sam

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("sam", str(self._sam.device), None, "fp32", "segment_anything")

    def embed(self, images: Sequence[RgbImage]) -> list[PredictedImage]:
        return [self._predicted(image) for image in images]

    def _predicted(self, image: RgbImage) -> PredictedImage:
        predictor = SamPredictor(self._sam)
        predictor.set_image(image)
        return PredictedImage(predictor)

    def candidates(
        self, embedding: PredictedImage, prompt: Prompt
    ) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.bool_]]:
        box = prompt.box
        masks, scores, logits = embedding.predictor.predict(
            point_coords=np.array([[p.x, p.y] for p in prompt.points]) if prompt.points else None,
            point_labels=np.array([p.label for p in prompt.points]) if prompt.points else None,
            box=np.array([box.x0, box.y0, box.x1, box.y1]) if box else None,
        )
        return torch.from_numpy(logits), torch.from_numpy(scores), masks
