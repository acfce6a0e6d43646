"""Grounding DINO, by Liu et al., https://arxiv.org/abs/2303.05499, as transformers has it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sampoll.core.jobs import RgbImage
from sampoll.models.detectors.detector import Features, Found, check_length, loaded_parts, pixels_of
from sampoll.models.shared.kept_words import KeptWords


class GroundingDino:
    """The features are the maps of its backbone. All that follows sees the words, so it runs for each text of
    each image."""

    name = "grounding-dino"
    threshold = 0.25
    preprocessing = 1

    def __init__(self, directory: Path, device: torch.device, batch_size: int) -> None:
        self._parts = loaded_parts("GroundingDinoForObjectDetection", directory, device)
        self.sha256 = self._parts.sha256
        self._device = device
        self._batch_size = batch_size
        self._model: Any = self._parts.model
        inner = self._model.model
        self._channels: list[int] = inner.backbone.conv_encoder.intermediate_channel_sizes
        self._backbone: Any = inner.backbone.conv_encoder.model
        inner.backbone.conv_encoder.model = _KnownMaps()
        inner.text_backbone = _WordsOnce(inner.text_backbone, device)

    @property
    def features_bytes(self) -> int:
        size = self._parts.processor.size
        sides = [size.get("shortest_edge") or size["height"], size.get("longest_edge") or size["width"]]
        pixels = sides[0] * sides[1]
        return sum(4 * channels * pixels // 64 // 4**level for level, channels in enumerate(self._channels))

    def features(self, images: Sequence[RgbImage]) -> list[Features]:
        pixels = [pixels_of(self._parts.processor, image, self._device) for image in images]
        made: list[Features] = []
        # Only images of one size together: padding would change the maps.
        for _, group in groupby(zip(images, pixels, strict=True), key=lambda pair: pair[1].shape):
            some = list(group)
            maps = self._backbone(torch.cat([one for _, one in some]), return_dict=True).feature_maps
            for row, (image, one) in enumerate(some):
                tensors = tuple(level[row].clone() for level in maps)
                size, seen = (image.shape[0], image.shape[1]), (one.shape[2], one.shape[3])
                made.append(Features(tensors, size, seen))
        return made

    def found(self, work: Sequence[tuple[Features, str]]) -> Iterator[tuple[int, Found]]:
        together: dict[tuple[str, tuple[int, int]], list[int]] = {}
        for index, (features, text) in enumerate(work):
            together.setdefault((caption_of(text), features.seen_size), []).append(index)
        for (caption, _), indexes in together.items():
            for start in range(0, len(indexes), self._batch_size):
                some = indexes[start : start + self._batch_size]
                found = self._found([work[index][0] for index in some], caption)
                yield from zip(some, found, strict=True)

    def _found(self, images: Sequence[Features], caption: str) -> list[Found]:
        """For the same words in images that were seen in one size."""
        words = self._parts.tokenizer(caption, return_tensors="pt").to(self._device)
        check_length(caption, words["input_ids"].shape[1], self._model.config.max_text_len)
        maps = _KnownImages(
            [torch.stack(levels) for levels in zip(*(image.tensors for image in images), strict=True)],
            torch.Size((len(images), 3, *images[0].seen_size)),
            self._device,
        )
        answer = self._model(
            pixel_values=maps, **{name: rows.expand(len(images), -1) for name, rows in words.items()}
        )
        scores = answer.logits.amax(dim=-1).sigmoid().cpu().numpy()  # (B, N), the best word of each query
        centres, halves = answer.pred_boxes[..., :2], answer.pred_boxes[..., 2:] / 2
        corners = torch.cat([centres - halves, centres + halves], dim=-1).cpu()
        scales = [torch.tensor([image.size[1], image.size[0]] * 2) for image in images]
        return [
            Found((boxes * scale).numpy(), own)
            for boxes, scale, own in zip(corners, scales, scores, strict=True)
        ]


def caption_of(text: str) -> str:
    """Words as the model was trained on them: small letters, and a full stop at the end of each phrase."""
    text = text.strip().lower()
    return text if text.endswith(".") else f"{text}."


@dataclass(frozen=True, eq=False)
class _KnownImages:
    """The maps of images, in the place of their pixels: the model looks at the shape and the device of these
    only, and gives them to its backbone."""

    feature_maps: Sequence[Tensor]
    shape: torch.Size
    device: torch.device


class _KnownMaps(nn.Module):
    """In the place of the backbone: its maps were made before."""

    def forward(self, images: _KnownImages, return_dict: bool) -> _KnownImages:
        return images


class _WordsOnce(nn.Module):
    """In the place of the encoder of words, for rows that all have the same words: encodes these once."""

    def __init__(self, encoder: Any, device: torch.device) -> None:
        super().__init__()
        self.encoder = encoder
        self._words: KeptWords[Any] = KeptWords(device)

    def forward(self, input_ids: Tensor, *more: Tensor, return_dict: bool) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        def encode() -> Tensor:
            rows = (each[:1] for each in (input_ids, *more))
            encoded: Tensor = self.encoder(*rows, return_dict=True).last_hidden_state
            return encoded

        encoded = self._words.of(tuple(input_ids[0].tolist()), encode)
        return BaseModelOutput(last_hidden_state=encoded.expand(len(input_ids), -1, -1))
