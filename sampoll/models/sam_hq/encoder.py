"""SAM-HQ's image encoder: that of SAM or MobileSAM, and finer features from its early tokens.

Shapes: B images, S x S image tokens (64 x 64).
"""

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder
from torch import Tensor

from sampoll.models.shared.decoder import Upscaling, as_planes
from sampoll.models.shared.network import TorchEncoder
from sampoll.models.shared.tiny_vit import TinyViT, TinyViTEncoder
from sampoll.models.shared.trunk import TrunkEncoder
from sampoll.models.shared.vit import Encoder


class HqEncoder(TorchEncoder):
    """The same function as the authors', up to rounding in `dtype`, in which all products of matrices are.
    What their mask decoder computes from the image alone, again for each prompt, is a level of the
    embedding."""

    def __init__(
        self, original: ImageEncoderViT | TinyViT, mask_decoder: MaskDecoder, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.early = early_stage(original)
        is_tiny = isinstance(original, TinyViT)
        self.trunk: TrunkEncoder = (TinyViTEncoder if is_tiny else Encoder)(original, dtype)
        self.img_size = self.trunk.img_size
        self.of_features = Upscaling(mask_decoder.embedding_encoder, dtype)
        self.of_early = Upscaling(mask_decoder.compress_vit_feat, dtype)

    def compile_for(self, batch_size: int) -> None:
        """As `Encoder.compile_for`."""
        self.trunk.compile_for(batch_size)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Features (B, 256, S, S) and finer ones (B, 32, 4 S, 4 S), float32, of normalised images
        (B, 3, 16 S, 16 S)."""
        for number, tokens in enumerate(self.trunk.stages(images)):
            if number == self.early:
                early = tokens
        features = self.trunk.neck(tokens)
        finer = self.of_features.pixels(features.flatten(2).transpose(1, 2))
        return features, as_planes((finer + self.of_early.pixels(early.flatten(1, 2))).float())


def early_stage(original: ImageEncoderViT | TinyViT) -> int:
    """The number of the block whose tokens are the early features: the first one with attention over all
    tokens, 2, 5 or 7 in b, l and h; of TinyViT, the second stage."""
    if isinstance(original, TinyViT):
        return 1
    return next(number for number, block in enumerate(original.blocks) if block.window_size == 0)
