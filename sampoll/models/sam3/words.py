"""SAM 3's detector: the masks of everything in an image that words name."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sampoll.core.errors import BadPrompt
from sampoll.models.shared.hub_model import imported_transformers
from sampoll.models.shared.kept_words import KeptWords

THRESHOLD = 0.5
"""The lowest score of a mask that the authors' code keeps."""
IGNORED = -10
"""The label of a box that is none."""


class Seen(NamedTuple):
    """The detector's levels of images and the places in them: maps (B, C, h, w)."""

    levels: tuple[Tensor, ...]
    positions: tuple[Tensor, ...]

    def of(self, rows: Sequence[int]) -> "Seen":
        """Those of some of the images."""
        if len(rows) == len(self.levels[0]):
            return self
        chosen = list(rows)
        return Seen(
            tuple(level[chosen] for level in self.levels), tuple(each[chosen] for each in self.positions)
        )


class _Encoded(NamedTuple):
    """Words as the detector takes them: (1, T, C), and which of their tokens count (1, T)."""

    vectors: Tensor
    counts: Tensor


class Sam3Words:
    """Over a Sam3Model without its trunk, on `device`."""

    def __init__(self, model: Any, tokenizer: Any, device: torch.device) -> None:
        self._model = model.to(device)
        self._tokenizer = tokenizer
        self._device = device
        self._words: KeptWords[_Encoded] = KeptWords(device)

    def seen(self, maps: Sequence[Tensor]) -> Seen:
        """What the detector makes of images, by the maps (D, S, S) of their trunk, before it knows words."""
        return Seen(*self._model.vision_encoder.neck(torch.stack(list(maps))))

    def candidates(self, images: Seen, text: str) -> tuple[Tensor, Tensor]:
        """Scores (B, Q) and low-res logits (B, Q, 4 S, 4 S) of what the words name in images. BadPrompt if
        there are more words than the model takes: none are cut."""
        words = self._words.of(text, lambda: self._encoded(text))
        count = len(images.levels[0])
        transformers = imported_transformers("--model sam3")
        outputs = transformers.models.sam3.modeling_sam3
        answer = self._model(
            vision_embeds=outputs.Sam3VisionEncoderOutput(
                fpn_hidden_states=images.levels, fpn_position_encoding=images.positions
            ),
            text_embeds=outputs.BaseModelOutputWithPooling(pooler_output=words.vectors.expand(count, -1, -1)),
            attention_mask=words.counts.expand(count, -1),
            # The authors' code always adds the token of the encoder of boxes; transformers runs that encoder
            # only if there are boxes. With one that is ignored, masks are the authors'.
            input_boxes=torch.zeros(count, 1, 4, device=self._device),
            input_boxes_labels=torch.full((count, 1), IGNORED, device=self._device),
        )
        scores: Tensor = answer.pred_logits.sigmoid() * answer.presence_logits.sigmoid()
        return scores, answer.pred_masks

    def _encoded(self, text: str) -> _Encoded:
        at_most = self._model.config.text_config.max_position_embeddings
        inputs = self._tokenizer(text, return_tensors="pt", padding="max_length", max_length=at_most)
        if (tokens := inputs["input_ids"].shape[1]) > at_most:
            raise BadPrompt(
                f"the text {text!r} has {tokens} tokens, and the model takes {at_most}", advice="shorten it"
            )
        inputs = inputs.to(self._device)
        vectors = self._model.get_text_features(inputs["input_ids"], inputs["attention_mask"])
        return _Encoded(vectors.pooler_output, inputs["attention_mask"])
