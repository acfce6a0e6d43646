"""OWLv2, by Minderer, Gritsenko and Houlsby, https://arxiv.org/abs/2306.09683, as transformers has it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sampoll.core.jobs import RgbImage
from sampoll.models.detectors.detector import Features, Found, check_length, loaded_parts, pixels_of
from sampoll.models.shared.kept_words import KeptWords


class Owlv2:
    """The features are tokens (N, D), and a box (N, 4) for each: words only decide which of them are kept."""

    name = "owlv2"
    threshold = 0.1
    preprocessing = 1

    def __init__(self, directory: Path, device: torch.device, batch_size: int) -> None:
        self._parts = loaded_parts("Owlv2ForObjectDetection", directory, device)
        self.sha256 = self._parts.sha256
        self._model: Any = self._parts.model
        self._device = device
        self._words: KeptWords[Tensor] = KeptWords(device)

    @property
    def features_bytes(self) -> int:
        model = self._model
        tokens = model.num_patches_height * model.num_patches_width
        return int(4 * tokens * (model.config.vision_config.hidden_size + 4))

    def features(self, images: Sequence[RgbImage]) -> list[Features]:
        pixels = torch.cat([pixels_of(self._parts.processor, image, self._device) for image in images])
        maps, _ = self._model.image_embedder(pixel_values=pixels)  # (B, h, w, D)
        tokens = maps.flatten(1, 2)
        boxes = self._model.box_predictor(tokens, maps)
        height, width = pixels.shape[-2:]
        return [
            Features((own.clone(), places.clone()), (image.shape[0], image.shape[1]), (height, width))
            for own, places, image in zip(tokens, boxes, images, strict=True)
        ]

    def found(self, work: Sequence[tuple[Features, str]]) -> Iterator[tuple[int, Found]]:
        for index, (features, text) in enumerate(work):
            tokens, boxes = features.tensors
            logits, _ = self._model.class_predictor(tokens[None], self._encoded(text)[None, None])
            yield index, self._found(logits[0, :, 0], boxes, max(features.size))

    def _found(self, logits: Tensor, boxes: Tensor, side: int) -> Found:
        """`boxes` are centres and sizes as shares of a square, whose side is the image's longer one."""
        centres, halves = boxes[:, :2], boxes[:, 2:] / 2
        corners = torch.cat([centres - halves, centres + halves], dim=-1) * side
        return Found(corners.cpu().numpy(), logits.sigmoid().cpu().numpy())

    def _encoded(self, text: str) -> Tensor:
        """The words as one vector of length 1."""
        return self._words.of(text, lambda: self._encode(text))

    def _encode(self, text: str) -> Tensor:
        inputs = self._parts.tokenizer(text, return_tensors="pt").to(self._device)
        check_length(
            text, inputs["input_ids"].shape[1], self._model.config.text_config.max_position_embeddings
        )
        answer = self._model.owlv2.get_text_features(inputs["input_ids"], inputs["attention_mask"])
        vector: Tensor = answer.pooler_output[0]
        length: Tensor = vector.norm()
        return vector / length
