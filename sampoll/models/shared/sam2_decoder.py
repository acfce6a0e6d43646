"""SAM 2's mask decoder: SAM's, with finer levels of the image and another rule for single masks.

Shapes as in `decoder`; the levels of an image are (D / 8, 4 S, 4 S), (D / 4, 2 S, 2 S) and (D, S, S).
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from segment_anything.modeling import MaskDecoder, PromptEncoder
from torch import Tensor

from sampoll.models.shared.decoder import Decoder, ImageSide, as_planes, product
from sampoll.models.shared.mask_choice import STABILITY_DELTA, STABLE, MaskPolicy


class Sam2Decoder(Decoder):
    """Low-res logits and predicted IoUs, those of the original up to rounding in float32.

    "single" is the mask of the first token if that one is stable: if few pixels change when the threshold of
    the logits moves by STABILITY_DELTA up and down. If it is not, it is the best of the other three.
    """

    STABILITY_DELTA: ClassVar = STABILITY_DELTA
    STABLE: ClassVar = STABLE

    def __init__(self, original: MaskDecoder, prompts: PromptEncoder, object_token: Tensor) -> None:
        """`object_token` (1, D) predicts for videos whether there is an object; all tokens attend to it."""
        super().__init__(original, prompts, object_token)

    def image_side(self, embeddings: Sequence[tuple[Tensor, ...]]) -> ImageSide:
        finest, finer, features = zip(*embeddings, strict=True)
        added = self._added(torch.stack(finer), torch.stack(finest))
        return self.side_of(features)._replace(finer=added)

    def forward(
        self,
        images: ImageSide,
        image_of: Tensor,
        places: Tensor,
        kinds: Tensor,
        policy: MaskPolicy,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        queries, image = self.attended(images, image_of, places, kinds, masks)
        scores = self.iou_head(queries[:, 0])  # (P, 4)
        weights = self.hypernetworks(queries[:, 1:5].transpose(0, 1))  # (4, P, D / 8)
        rows = torch.arange(len(queries), device=queries.device)
        best = torch.ones_like(image_of) if policy == "first" else 1 + scores[:, 1:].argmax(dim=1)
        wanted = [torch.zeros_like(best), best] if policy == "single" else [best]
        chosen = torch.stack([weights[token, rows] for token in wanted], dim=1)  # (P, 1 or 2, D / 8)
        logits = self._planes(images, image_of, image, chosen)
        if policy != "single":
            return logits[:, 0], scores[rows, best]
        best = torch.where(self._is_stable(logits[:, 0]), 0, best)
        return logits[rows, (best > 0).long()], scores[rows, best]

    def _several(
        self, images: ImageSide, image_of: Tensor, places: Tensor, kinds: Tensor, which: slice
    ) -> tuple[Tensor, Tensor]:
        queries, image = self.attended(images, image_of, places, kinds)
        weights = self.hypernetworks(queries[:, 1:5].transpose(0, 1))[which]  # (C, P, D / 8)
        logits = self._planes(images, image_of, image, weights.transpose(0, 1))
        return logits, self.iou_head(queries[:, 0])[:, which]

    def _added(self, finer: Tensor, finest: Tensor) -> tuple[Tensor, Tensor]:
        """What the two steps of upscaling add, levels and biases: (I, L, 4 · D / 4) and (I, 4 L, 4 · D / 8)
        of levels (I, D / 4, 2 S, 2 S) and (I, D / 8, 4 S, 4 S)."""
        images, _, side, _ = finer.shape
        side //= 2
        first = finer.view(images, -1, side, 2, side, 2).permute(0, 2, 4, 3, 5, 1)
        second = finest.view(images, -1, side, 2, 2, side, 2, 2).permute(0, 2, 5, 3, 6, 4, 7, 1)
        return (
            first.reshape(images, side**2, -1) + self.upscaling.first_bias,
            second.reshape(images, 4 * side**2, -1) + self.upscaling.second_bias,
        )

    def _planes(self, images: ImageSide, image_of: Tensor, image: Tensor, weights: Tensor) -> Tensor:
        """Logits (P, C, 4 S, 4 S) by the weights of C masks (P, C, D / 8)."""
        is_one = len(images.finer[0]) == 1  # whose levels need no copy for each prompt
        first, second = images.finer if is_one else (level[image_of] for level in images.finer)
        steps, (count, tokens, _) = self.upscaling, image.shape
        x = product(image, steps.first, first).view(count, 4 * tokens, -1)  # (P, 4 L, D / 4)
        x = F.layer_norm(x, x.shape[-1:], steps.norm.weight, steps.norm.bias, steps.norm.eps)
        x = steps.activation(product(steps.activation(x), steps.second, second))
        return as_planes(x.view(count, 16 * tokens, -1) @ weights.transpose(1, 2))

    def _is_stable(self, logits: Tensor) -> Tensor:
        """Which of the masks of logits (P, h, w) are stable; an empty one is."""
        inside, around = (
            (logits > threshold).flatten(1).sum(dim=1).float()
            for threshold in (self.STABILITY_DELTA, -self.STABILITY_DELTA)
        )
        return torch.where(around > 0, inside / around, 1.0) >= self.STABLE
