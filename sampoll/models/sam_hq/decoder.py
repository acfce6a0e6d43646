"""SAM-HQ's mask decoder: SAM's, and a mask of its own that is added to the one that SAM would give.

Shapes: I images, P prompts, S x S = L image tokens (64 x 64), D channels (256).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from segment_anything.modeling import MaskDecoder, PromptEncoder
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from sampoll.models.shared.decoder import Decoder, ImageSide, StackedMlps, as_planes
from sampoll.models.shared.mask_choice import CANDIDATES, MaskPolicy

HQ = 4
"""The index of its own mask, which follows SAM's four."""


class HqDecoder(Decoder):
    """Low-res logits and predicted IoUs, those of the authors' MaskDecoderHQ up to rounding in float32."""

    def __init__(self, original: MaskDecoder, prompts: PromptEncoder) -> None:
        super().__init__(original, prompts, extra_tokens=original.hf_token.weight)
        self.hypernetworks = StackedMlps([*original.output_hypernetworks_mlps, original.hf_mlp])
        self.refinement = _Refinement(original.embedding_maskfeature)

    def image_side(self, embeddings: Sequence[tuple[Tensor, ...]]) -> ImageSide:
        """Of features (D, S, S) and finer ones (D / 8, 4 S, 4 S) of each image."""
        finer = torch.stack([finer for _, finer in embeddings])
        return self.side_of([features for features, _ in embeddings])._replace(finer=(finer,))

    def forward(
        self,
        images: ImageSide,
        image_of: Tensor,
        places: Tensor,
        kinds: Tensor,
        policy: MaskPolicy,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As Decoder's: `policy` chooses SAM's mask, to which the model's own is added. The predicted IoU is
        that of SAM's."""
        queries, image = self.attended(images, image_of, places, kinds, masks)
        scores = self.iou_head(queries[:, 0])[:, CANDIDATES[policy]]  # (P, C)
        best = scores.argmax(dim=1)
        weights = self.hypernetworks(queries[:, 1 : HQ + 2].transpose(0, 1))  # (5, P, D / 8)
        rows = torch.arange(len(queries), device=best.device)
        chosen = weights[CANDIDATES[policy]][best, rows]  # (P, D / 8)
        pixels = self.upscaling.pixels(image)  # (P, 16 L, D / 8)
        plain = as_planes(pixels @ chosen[..., None])[:, 0]
        own = self.refinement(as_planes(pixels), self._finer(images, image_of), weights[HQ])
        return plain + own, scores[rows, best]

    def every_candidate(
        self, images: ImageSide, image_of: Tensor, places: Tensor, kinds: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The one mask that the model gives: (P, 1, 4 S, 4 S) and (P, 1)."""
        logits, scores = self(images, image_of, places, kinds, "best")
        return logits[:, None], scores[:, None]

    def all_masks(
        self, images: ImageSide, image_of: Tensor, places: Tensor, kinds: Tensor
    ) -> tuple[Tensor, Tensor]:
        """SAM's four masks, each with the model's own added."""
        queries, image = self.attended(images, image_of, places, kinds)
        weights = self.hypernetworks(queries[:, 1 : HQ + 2].transpose(0, 1))  # (5, P, D / 8)
        pixels = self.upscaling.pixels(image)
        plain = as_planes(pixels @ weights[:HQ].permute(1, 2, 0))
        own = self.refinement(as_planes(pixels), self._finer(images, image_of), weights[HQ])
        return plain + own[:, None], self.iou_head(queries[:, 0])

    def _finer(self, images: ImageSide, image_of: Tensor) -> Tensor:
        """The finer features of each prompt's image: (P, D / 8, h, w), or (1, ...) if there is one image."""
        [finer] = images.finer
        return finer if len(finer) == 1 else finer[image_of]


class _Refinement(nn.Module):
    """The model's own mask, from the pixels of SAM's masks and the image's finer features.

    The last convolution is linear, and so is the product with a prompt's weights: both are one convolution to
    one channel, with a kernel for each prompt.
    """

    def __init__(self, original: nn.Sequential) -> None:
        super().__init__()
        self.first: Any = original[0]
        self.norm: LayerNorm2d = original[1]
        self.activation: nn.Module = original[2]
        self.last: Any = original[3]

    def forward(self, pixels: Tensor, finer: Tensor, weights: Tensor) -> Tensor:
        """Pixels and finer features, (P, D / 8, h, w) both, or the latter (1, ...) for all, with weights
        (P, D / 8), to (P, h, w)."""
        size = pixels.shape[2:]
        x = self.first(pixels).flatten(2).transpose(1, 2)  # (P, h w, D / 4)
        x = self.activation(F.layer_norm(x, x.shape[-1:], self.norm.weight, self.norm.bias, self.norm.eps))
        kernels = torch.einsum("pc,cdij->pdij", weights, self.last.weight)  # (P, D / 4, 3, 3)
        # Each pixel's part in the pixels around it: `fold` goes through these the other way round.
        parts = kernels.flip(2, 3).flatten(2).transpose(1, 2) @ x.transpose(1, 2)  # (P, 3·3, h w)
        own = F.fold(parts, size, self.last.kernel_size, padding=self.last.padding)[:, 0]
        offset = weights @ self.last.bias
        of_finer = (weights[:, None] @ finer.flatten(2)).view(-1, *size)
        logits: Tensor = own + offset[:, None, None] + of_finer
        return logits
