"""RepViT-M1, EdgeTAM's trunk: a convolutional network in four stages.

Wang et al., "RepViT: Revisiting Mobile CNN From ViT Perspective", https://arxiv.org/abs/2307.09283.

The weights have the names that timm's `repvit_m1` gives them, as in EdgeTAM's checkpoint. For inference, each
convolution is merged with its norm, and with the convolutions beside it.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from torch import Tensor, nn

from sampoll.models.shared.sam2_network import named, with_products_in


@dataclass(frozen=True)
class RepVitSizes:
    """Channels and blocks of each stage."""

    channels: tuple[int, ...] = (48, 96, 192, 384)
    depths: tuple[int, ...] = (2, 2, 14, 2)


M1 = RepVitSizes()


class RepVit(nn.Module):
    """The weights by timm's names, of the part called `image_encoder.trunk.body`."""

    def __init__(self, sizes: RepVitSizes = M1) -> None:
        super().__init__()
        first = sizes.channels[0]
        self.stem = named(
            conv1=_conv_norm(3, first // 2, 3, stride=2), conv2=_conv_norm(first // 2, first, 3, stride=2)
        )
        for stage, (channels, depth) in enumerate(zip(sizes.channels, sizes.depths, strict=True)):
            inputs = sizes.channels[stage - 1] if stage else None
            self.add_module(f"stages_{stage}", _stage(inputs, channels, depth))

    def stages(self) -> list[nn.Module]:
        return [stage for name, stage in self.named_children() if name.startswith("stages_")]


class RepVitBody(nn.Module):
    """The trunk's weights by the names of EdgeTAM's checkpoint."""

    def __init__(self, sizes: RepVitSizes = M1) -> None:
        super().__init__()
        self.channels = sizes.channels
        self.body = RepVit(sizes)

    def trunk(self, dtype: torch.dtype) -> "RepVitTrunk":
        return RepVitTrunk(self.body, dtype)


class RepVitTrunk(nn.Module):
    """RepViT ready for inference, with products of matrices in `dtype`."""

    def __init__(self, weights: RepVit, dtype: torch.dtype) -> None:
        super().__init__()
        self.first, self.second = _merged(weights.stem.conv1), _merged(weights.stem.conv2)
        self.stages = nn.ModuleList(_Stage(stage) for stage in weights.stages())
        with_products_in(self, dtype)
        self.to(memory_format=torch.channels_last)  # the faster order for convolutions on CPUs

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The maps (B, C, H, W) after each stage, in float32, of images (B, 3, 4 H, 4 W)."""
        dtype = self.first.weight.dtype
        images = images.to(dtype).contiguous(memory_format=torch.channels_last)
        x = self.second(F.gelu(self.first(images))).float()
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


class _Stage(nn.Module):
    """Halves rows and columns, except the first one, then blocks."""

    def __init__(self, weights: Any) -> None:
        super().__init__()
        self.downsample = _Downsample(weights.downsample) if hasattr(weights, "downsample") else nn.Identity()
        self.blocks = nn.Sequential(*(_Block(block) for block in weights.blocks))

    def forward(self, x: Tensor) -> Tensor:
        blocks: Tensor = self.blocks(self.downsample(x))
        return blocks


class _Downsample(nn.Module):
    def __init__(self, weights: Any) -> None:
        super().__init__()
        self.block = _Block(weights.pre_block)
        self.spatial, self.channel = _merged(weights.spatial_downsample), _merged(weights.channel_downsample)
        self.mlp = _Mlp(weights.ffn)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(x).to(self.spatial.weight.dtype)
        x = self.channel(self.spatial(x)).float()
        added: Tensor = x + self.mlp(x)
        return added


class _Block(nn.Module):
    """Mixes neighbours, then channels, each added to the residual path; every second block weighs its
    channels in between."""

    def __init__(self, weights: Any) -> None:
        super().__init__()
        self.mixer = _merged_sum(weights.token_mixer.conv, weights.token_mixer.conv1)
        self.gate = _Gate(weights.se) if hasattr(weights, "se") else nn.Identity()
        self.mlp = _Mlp(weights.channel_mixer)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gate(x + self.mixer(x.to(self.mixer.weight.dtype)))
        added: Tensor = x + self.mlp(x)
        return added


class _Gate(nn.Module):
    """Squeeze and excitation: a weight for each channel, made from the means of all channels."""

    def __init__(self, weights: Any) -> None:
        super().__init__()
        self.fc1: nn.Conv2d = weights.fc1
        self.fc2: nn.Conv2d = weights.fc2

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3), keepdim=True).to(self.fc1.weight.dtype)
        gated: Tensor = x * self.fc2(F.relu(self.fc1(means))).float().sigmoid()
        return gated


class _Mlp(nn.Module):
    def __init__(self, weights: Any) -> None:
        super().__init__()
        self.conv1, self.conv2 = _merged(weights.conv1), _merged(weights.conv2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(F.gelu(self.conv1(x.to(self.conv1.weight.dtype))))
        return out


def _stage(inputs: int | None, channels: int, depth: int) -> nn.Module:
    blocks = nn.Sequential(*(_block(channels, gated=number % 2 == 0) for number in range(depth)))
    if inputs is None:
        return named(blocks=blocks)
    downsample = named(
        pre_block=_block(inputs, gated=False),
        spatial_downsample=_conv_norm(inputs, inputs, 3, stride=2, groups=inputs),
        channel_downsample=_conv_norm(inputs, channels, 1),
        ffn=_mlp(channels),
    )
    return named(downsample=downsample, blocks=blocks)


def _block(channels: int, *, gated: bool) -> nn.Module:
    layers: dict[str, nn.Module] = {
        "token_mixer": named(
            conv=_conv_norm(channels, channels, 3, groups=channels),
            conv1=_conv_norm(channels, channels, 1, groups=channels),
        ),
        "channel_mixer": _mlp(channels),
    }
    if gated:
        inside = _squeezed(channels)
        layers["se"] = named(fc1=nn.Conv2d(channels, inside, 1), fc2=nn.Conv2d(inside, channels, 1))
    return named(**layers)


def _mlp(channels: int) -> nn.Module:
    return named(conv1=_conv_norm(channels, 2 * channels, 1), conv2=_conv_norm(2 * channels, channels, 1))


def _conv_norm(inputs: int, outputs: int, side: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, groups=groups, bias=False)
    return named(c=conv, bn=nn.BatchNorm2d(outputs))


def _squeezed(channels: int) -> int:
    """A quarter of the channels, as a multiple of 8."""
    return max(8, int(channels / 4 + 4) // 8 * 8)


def _merged(layer: Any) -> nn.Conv2d:
    """A convolution and its norm as one convolution."""
    conv = layer.c
    weight, bias = _merged_weights(layer)
    merged = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        groups=conv.groups,
    )
    merged.weight, merged.bias = nn.Parameter(weight.float()), nn.Parameter(bias.float())
    return merged


def _merged_sum(layer: Any, point_wise: Any) -> nn.Conv2d:
    """The sum of two convolutions of the same input, of 3 x 3 and of 1 x 1 pixels, as one."""
    merged = _merged(layer)
    (weight, bias), (added, added_bias) = _merged_weights(layer), _merged_weights(point_wise)
    weight = weight + F.pad(added, (1, 1, 1, 1))
    merged.weight, merged.bias = nn.Parameter(weight.float()), nn.Parameter((bias + added_bias).float())
    return merged


def _merged_weights(layer: Any) -> tuple[Tensor, Tensor]:
    """In float64."""
    norm = layer.bn
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return layer.c.weight.double() * scale[
        :, None, None, None
    ], norm.bias.double() - norm.running_mean.double() * scale
