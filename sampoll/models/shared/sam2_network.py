"""The network of SAM 2, and of models made from it with another trunk, over the authors' names of weights.

Chen Ryali et al., "Hiera", https://arxiv.org/abs/2306.00989, and Nikhila Ravi et al., "SAM 2",
https://arxiv.org/abs/2408.00714; https://github.com/facebookresearch/sam2. Only what images need.
"""

from collections import OrderedDict
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from sampoll.models.shared.network import Network, TorchEncoder
from sampoll.models.shared.prompt_tokens import sam2_tokens
from sampoll.models.shared.sam2_decoder import Sam2Decoder
from sampoll.models.shared.sam2_rules import ResizedSquare
from sampoll.models.shared.thresholds import SAM2_THRESHOLDS

STRIDE = 16
"""Pixels of the prepared image to a row of image tokens."""


class TrunkWeights(Protocol):
    """A trunk as its authors name its weights: an nn.Module."""

    channels: tuple[int, ...]
    """Of the maps that it makes, from the finest, of stride 4, to the coarsest, of stride 32."""

    def trunk(self, dtype: torch.dtype) -> nn.Module:
        """What makes these four maps, in float32, of images (B, 3, S, S), with matrix products in `dtype`. It
        may take the weights over."""


class Sam2(nn.Module):
    """The weights by the authors' names. Its parts compute nothing together: `sam2_network` does."""

    def __init__(self, trunk: TrunkWeights, img_size: int = 1024, channels: int = 256) -> None:
        super().__init__()
        self.img_size = img_size
        side = img_size // STRIDE
        convs = [named(conv=nn.Conv2d(width, channels, 1)) for width in reversed(trunk.channels)]
        neck = nn.ModuleDict({"convs": nn.ModuleList(convs)})
        parts: dict[str, Any] = {"trunk": trunk, "neck": neck}
        self.image_encoder = nn.ModuleDict(parts)
        self.sam_prompt_encoder = PromptEncoder(channels, (side, side), (img_size, img_size), 16)
        self.sam_mask_decoder = mask_decoder(channels)
        self.no_mem_embed = nn.Parameter(torch.empty(1, 1, channels))


def sam2_network(sam2: Sam2) -> Network:
    """The network over the weights of `sam2`, which it takes over."""
    prompts, decoder = sam2.sam_prompt_encoder, sam2.sam_mask_decoder
    channels, side = prompts.embed_dim, sam2.img_size // STRIDE
    return Network(
        encoder=partial(Sam2Encoder, sam2),
        decoder=Sam2Decoder(decoder, prompts, decoder.obj_score_token.weight),
        rules=ResizedSquare(sam2.img_size, 4 * side),
        levels=(
            (channels // 8, 4 * side, 4 * side),
            (channels // 4, 2 * side, 2 * side),
            (channels, side, side),
        ),
        tokens=sam2_tokens,
        everything=SAM2_THRESHOLDS,
    )


class Sam2Encoder(TorchEncoder):
    """A trunk, and a neck that makes of its maps the levels that the decoder takes.

    A projection of the neck and the decoder's projection of the same map, with nothing in between, are one
    here: the same up to rounding.
    """

    def __init__(self, sam2: Sam2, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.img_size = sam2.img_size
        weights: Any = sam2.image_encoder
        self.trunk: nn.Module = weights["trunk"].trunk(dtype)
        coarsest, coarse, finer, finest = (each.conv for each in weights["neck"]["convs"])
        self.finest = _composed(finest, sam2.sam_mask_decoder.conv_s0).to(dtype)
        self.finer = _composed(finer, sam2.sam_mask_decoder.conv_s1).to(dtype)
        self.coarse, self.coarsest = coarse.to(dtype), coarsest.to(dtype)
        self.no_memory = nn.Parameter(sam2.no_mem_embed.view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Levels (B, D / 8, 4 S, 4 S), (B, D / 4, 2 S, 2 S) and (B, D, S, S), of images
        (B, 3, 16 S, 16 S)."""
        finest, finer, coarse, coarsest = (level.to(self.dtype) for level in self.trunk(images))
        below = F.interpolate(self.coarsest(coarsest).float(), scale_factor=2.0, mode="nearest")
        features = self.coarse(coarse).float() + below + self.no_memory
        return (
            self.finest(finest).float().contiguous(),
            self.finer(finer).float().contiguous(),
            features.contiguous(),
        )


def with_products_in(module: nn.Module, dtype: torch.dtype) -> None:
    """Converts the layers of matrix products; norms stay as they are."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.to(dtype)


def named(**layers: nn.Module) -> nn.Sequential:
    """Layers one after another, by the authors' names."""
    return nn.Sequential(OrderedDict(layers))


def mask_decoder(channels: int) -> MaskDecoder:
    """SAM's mask decoder, with what SAM 2 adds."""
    hidden = 2048
    transformer = TwoWayTransformer(depth=2, embedding_dim=channels, num_heads=8, mlp_dim=hidden)
    for layer in transformer.layers:
        layer.mlp = MLP(channels, hidden, channels, 2)  # the same as SAM's, by other names
    decoder = MaskDecoder(transformer_dim=channels, transformer=transformer)
    decoder.iou_prediction_head.sigmoid_output = True
    decoder.conv_s0 = nn.Conv2d(channels, channels // 8, 1)
    decoder.conv_s1 = nn.Conv2d(channels, channels // 4, 1)
    decoder.obj_score_token = nn.Embedding(1, channels)
    decoder.pred_obj_score_head = MLP(
        channels, channels, 1, 3
    )  # for videos; its tensors are part of all files
    return decoder


def _composed(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """One projection that does what these two do, one after the other."""
    inner, outer = (each.weight[:, :, 0, 0].double() for each in (first, second))
    both = nn.Conv2d(first.in_channels, second.out_channels, 1)
    both.weight = nn.Parameter((outer @ inner).float()[:, :, None, None])
    both.bias = nn.Parameter((outer @ first.bias.double() + second.bias.double()).float())  # type: ignore[union-attr]
    return both
