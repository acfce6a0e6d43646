"""The real classes of segment_anything, so small that a test can afford them."""

from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer


def tiny_sam(seed: int = 0) -> Sam:
    """The real classes of segment_anything with few, random weights: 64 x 64 input, patches of 16."""
    torch.manual_seed(seed)
    sam = Sam(
        image_encoder=ImageEncoderViT(
            depth=2,
            embed_dim=32,
            img_size=64,
            mlp_ratio=2,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=2,
            patch_size=16,
            use_rel_pos=True,
            global_attn_indexes=[1],
            window_size=3,
            out_chans=32,
        ),
        prompt_encoder=PromptEncoder(32, (4, 4), (64, 64), 16),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=2),
            transformer_dim=32,
            iou_head_depth=3,
            iou_head_hidden_dim=32,
        ),
    )
    return sam.eval()


def with_positions(sam: Sam) -> Sam:
    """The positions of a new model are zeros, with which no mistake in them would be seen."""
    generator = torch.Generator().manual_seed(1)
    for name, weights in sam.image_encoder.named_parameters():
        if "pos" in name:
            weights.data.normal_(std=0.5, generator=generator)
    return sam


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Relative L2."""
    return float((ours - theirs).norm() / theirs.norm())
