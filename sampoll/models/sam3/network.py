"""SAM 3 as a network for points and boxes: the trunk of its detector, and the decoder of its tracker, which
is SAM 2's with other sizes."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
import torchvision.transforms.v2.functional as pixels_of
from segment_anything.modeling import PromptEncoder
from torch import Tensor, nn

from sampoll.core.jobs import RgbImage
from sampoll.models.shared.decoder import ImageSide
from sampoll.models.shared.hub_names import sam2_names
from sampoll.models.shared.network import Network, TorchEncoder
from sampoll.models.shared.prompt_tokens import sam2_tokens
from sampoll.models.shared.sam2_decoder import Sam2Decoder
from sampoll.models.shared.sam2_keys import is_for_images
from sampoll.models.shared.sam2_network import mask_decoder, with_products_in
from sampoll.models.shared.sam2_rules import ResizedSquare
from sampoll.models.shared.thresholds import SAM2_THRESHOLDS
from sampoll.models.shared.weights import filled

TRUNK = -1
"""The index of the trunk's own map among the levels: the detector takes it."""


class Tracker(nn.Module):
    """The weights that points and boxes need, by SAM 2's names."""

    def __init__(self, img_size: int, side: int, channels: int) -> None:
        super().__init__()
        self.sam_prompt_encoder = PromptEncoder(channels, (side, side), (img_size, img_size), 16)
        self.sam_mask_decoder = mask_decoder(channels)
        self.no_mem_embed = nn.Parameter(torch.empty(1, 1, channels))


def sam3_network(
    trunk: Any, neck: nn.Module, tracker_weights: Mapping[str, Tensor], img_size: int, patch_size: int
) -> Network:
    """The network over a trunk and a neck as transformers has them, and over the weights of a tracker under
    the names that transformers gives them. ModelUnavailable if these are not exactly its own."""
    side = img_size // patch_size
    named = sam2_names(tracker_weights, lambda tensor, number: tensor[number : number + 1])
    wanted = {name: tensor for name, tensor in named.items() if is_for_images(name)}
    channels = wanted["no_mem_embed"].shape[-1] if "no_mem_embed" in wanted else 256
    tracker = filled(partial(Tracker, img_size, side, channels), wanted)
    prompts, decoder = tracker.sam_prompt_encoder, tracker.sam_mask_decoder
    return Network(
        encoder=partial(Sam3Encoder, trunk, neck, tracker, img_size),
        decoder=Sam3Decoder(decoder, prompts, decoder.obj_score_token.weight),
        rules=Sam3Square(img_size, 4 * side),
        levels=(
            (channels // 8, 4 * side, 4 * side),
            (channels // 4, 2 * side, 2 * side),
            (channels, side, side),
            (int(trunk.config.hidden_size), side, side),
        ),
        tokens=sam2_tokens,
        everything=SAM2_THRESHOLDS,
    )


class Sam3Encoder(TorchEncoder):
    """One pass of the trunk: the levels of the tracker, and the trunk's own map (D, S, S), of which the
    detector makes its levels when there are words."""

    def __init__(
        self, trunk: nn.Module, neck: Any, tracker: Tracker, img_size: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.dtype, self.img_size = dtype, img_size
        self.trunk, self.layers = trunk, neck.fpn_layers[:3]
        decoder: Any = tracker.sam_mask_decoder
        self.finest, self.finer = decoder.conv_s0, decoder.conv_s1
        self.no_memory = nn.Parameter(tracker.no_mem_embed.view(1, -1, 1, 1))
        with_products_in(self, dtype)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Levels (B, C / 8, 4 S, 4 S), (B, C / 4, 2 S, 2 S), (B, C, S, S) and (B, D, S, S)."""
        is_lower = self.dtype != torch.float32
        with torch.autocast(images.device.type, self.dtype if is_lower else torch.bfloat16, enabled=is_lower):
            tokens = self.trunk(images).last_hidden_state.float()  # (B, L, D)
            side = round(tokens.shape[1] ** 0.5)
            own = tokens.transpose(1, 2).unflatten(2, (side, side)).contiguous()
            finest, finer, features = (layer(own) for layer in self.layers)
            levels = self.finest(finest), self.finer(finer), features.float() + self.no_memory
        return (*(level.float().contiguous() for level in levels), own)


class Sam3Decoder(Sam2Decoder):
    def image_side(self, embeddings: Sequence[tuple[Tensor, ...]]) -> ImageSide:
        return super().image_side([levels[:TRUNK] for levels in embeddings])


class Sam3Square(ResizedSquare):
    """ImageRules of SAM 3: its authors resize bytes, not floats."""

    MEAN: ClassVar = (0.5, 0.5, 0.5)
    STD: ClassVar = (0.5, 0.5, 0.5)

    def prepared(self, image: RgbImage, device: torch.device, *, exact: bool) -> Tensor:
        planes = torch.from_numpy(np.require(image, requirements="W")).permute(2, 0, 1).to(device)
        resized: Tensor = pixels_of.resize(planes, [self.img_size, self.img_size], antialias=True)
        mean, std = (torch.tensor(each, device=device).view(-1, 1, 1) for each in (self.MEAN, self.STD))
        shares = resized.float() / 255
        return (shares - mean) / std
