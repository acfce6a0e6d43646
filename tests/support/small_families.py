"""Small models of the families that have TinyViT or SAM-HQ's mask decoder, with seeded weights: images of
128 x 128, and 8 x 8 tokens of 256 channels, which is what the authors' TinyViT always makes of them."""

from functools import partial

from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from sampoll.models.sam_hq.network import add_hq_modules
from sampoll.models.shared.tiny_vit import TinyViT, TinyViTSizes
from support.seeded import seeded

SMALL_TINY_VIT = TinyViTSizes(
    img_size=128, channels=(8, 16, 32, 320), depths=(1, 1, 2, 1), heads=(1, 2, 4, 5), classes=3
)
"""The authors' code has one resolution in the last two stages only if the last one has 320 channels."""
SMALL_VIT = {
    "depth": 4,
    "embed_dim": 32,
    "img_size": 128,
    "mlp_ratio": 2,
    "norm_layer": partial(nn.LayerNorm, eps=1e-6),
    "num_heads": 2,
    "patch_size": 16,
    "use_rel_pos": True,
    "global_attn_indexes": [1, 3],
    "window_size": 3,
    "out_chans": 256,
}
EARLY_CHANNELS = 32
"""Of both encoders."""
SMALL_TRANSFORMER = {"depth": 2, "embedding_dim": 256, "mlp_dim": 64, "num_heads": 2}
SMALL_DECODER = {
    "num_multimask_outputs": 3,
    "transformer_dim": 256,
    "iou_head_depth": 3,
    "iou_head_hidden_dim": 32,
}
SEED = 2
"""With which masks cover a part of the image, the best of three is not the first, and the best of four is
none of the three."""


def small_mobile_sam() -> Sam:
    return seeded(_around(TinyViT(SMALL_TINY_VIT)), SEED)


def small_sam_hq(encoder: str) -> Sam:
    """`encoder` is "vit" or "tiny_vit"."""
    sam = _around(TinyViT(SMALL_TINY_VIT) if encoder == "tiny_vit" else ImageEncoderViT(**SMALL_VIT))
    add_hq_modules(sam, EARLY_CHANNELS)
    return seeded(sam, SEED)


def _around(encoder: nn.Module) -> Sam:
    return Sam(
        image_encoder=encoder,
        prompt_encoder=PromptEncoder(256, (8, 8), (128, 128), 16),
        mask_decoder=MaskDecoder(transformer=TwoWayTransformer(**SMALL_TRANSFORMER), **SMALL_DECODER),
    )
