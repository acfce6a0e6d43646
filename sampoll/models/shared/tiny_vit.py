"""TinyViT as an image encoder of SAM, over the names of official checkpoints: MobileSAM's and Light HQ-SAM's.

Wu et al., "TinyViT", https://arxiv.org/abs/2207.10666; Zhang et al., "Faster Segment Anything",
https://arxiv.org/abs/2306.14289, who give its last two stages one resolution.

Shapes: B images, H x W tokens of D channels, windows of w x w = L tokens, N heads of C channels.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from sampoll.models.shared.trunk import Neck, TrunkEncoder
from sampoll.models.shared.windows import from_windows, to_windows

EXPANSION = 4
"""Channels inside a block, for each channel of the stage."""


@dataclass(frozen=True)
class TinyViTSizes:
    """Those of MobileSAM and Light HQ-SAM: 6 M parameters. Tuples have an entry for each stage."""

    img_size: int = 1024
    channels: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (2, 4, 5, 10)
    """The first stage is convolutions only, and has none."""
    windows: tuple[int, ...] = (7, 7, 14, 7)
    strides: tuple[int, ...] = (2, 2, 1, 1)
    """By which the tokens become fewer at the end of a stage. The last stage has no such end."""
    features: int = 256
    classes: int = 1000
    """Of the classifier that the authors began with: checkpoints hold it, and nothing uses it."""


class TinyViT(nn.Module):
    """The weights by their official names, without the computation, which is that of `TinyViTEncoder`."""

    def __init__(self, sizes: TinyViTSizes) -> None:
        super().__init__()
        self.img_size = sizes.img_size
        self.patch_embed = _PatchEmbed(sizes.channels[0])
        self.layers = nn.ModuleList(_Stage(sizes, number) for number in range(len(sizes.channels)))
        self.norm_head = nn.LayerNorm(sizes.channels[-1])
        self.head = nn.Linear(sizes.channels[-1], sizes.classes)
        self.neck = nn.Sequential(
            nn.Conv2d(sizes.channels[-1], sizes.features, 1, bias=False),
            LayerNorm2d(sizes.features),
            nn.Conv2d(sizes.features, sizes.features, 3, padding=1, bias=False),
            LayerNorm2d(sizes.features),
        )


class TinyViTEncoder(TrunkEncoder):
    """The same function as the authors' TinyViT, up to rounding in `dtype`, in which all matrix products are
    computed. Norms over batches are folded into the convolutions before them. Its blocks are the stages; the
    tokens are S x S from the second one on."""

    def __init__(self, original: TinyViT, dtype: torch.dtype) -> None:
        super().__init__(original.img_size, original.layers, Neck(original.neck, dtype))
        self.patch_embed = original.patch_embed
        for module in list(self.modules()):
            if isinstance(module, _ConvNorm):
                module.fold()
        on_residual_path = {block.local_conv.c for block in self.modules() if isinstance(block, _Block)}
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and module not in on_residual_path:
                module.to(dtype)

    def first_tokens(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.patch_embed(images)
        return tokens


class _ConvNorm(nn.Module):
    """A convolution without bias, and a norm over batches."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn: Any = nn.BatchNorm2d(outputs)

    def fold(self) -> None:
        """Makes the norm a part of the convolution, as it is in inference."""
        norm = self.bn
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        self.c.weight = nn.Parameter(self.c.weight * scale[:, None, None, None], requires_grad=False)
        self.c.bias = nn.Parameter(norm.bias - norm.running_mean * scale, requires_grad=False)
        self.bn = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W) in any precision; the result is in that of the weights."""
        convolved: Tensor = self.bn(self.c(x.to(self.c.weight.dtype)))
        return convolved


def _to_maps(tokens: Tensor) -> Tensor:
    """(B, H, W, D) to (B, D, H, W)."""
    return tokens.permute(0, 3, 1, 2)


def _to_tokens(maps: Tensor) -> Tensor:
    """(B, D, H, W) to (B, H, W, D)."""
    return maps.permute(0, 2, 3, 1)


class _PatchEmbed(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            _ConvNorm(3, channels // 2, 3, 2), nn.GELU(), _ConvNorm(channels // 2, channels, 3, 2)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, H / 4, W / 4, D) in float32."""
        return _to_tokens(self.seq(images)).float()


class _Stage(nn.Module):
    """Blocks over tokens of one size; then, except in the last stage, what makes them fewer or wider."""

    def __init__(self, sizes: TinyViTSizes, number: int) -> None:
        super().__init__()
        channels, heads, window = sizes.channels[number], sizes.heads[number], sizes.windows[number]
        self.blocks = nn.ModuleList(
            _Convolutions(channels) if number == 0 else _Block(channels, heads, window)
            for _ in range(sizes.depths[number])
        )
        is_last = number == len(sizes.channels) - 1
        self.downsample = (
            None if is_last else _Merging(channels, sizes.channels[number + 1], sizes.strides[number])
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) in float32, and so is the result, of another shape."""
        for block in self.blocks:
            x = block(x)
        if self.downsample is not None:
            x = self.downsample(x)
        return x


class _Convolutions(nn.Module):
    """A block of the first stage: mobile inverted bottlenecks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inside = EXPANSION * channels
        self.conv1 = _ConvNorm(channels, inside, 1)
        self.conv2 = _ConvNorm(inside, inside, 3, groups=inside)
        self.conv3 = _ConvNorm(inside, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) in float32, and so is the result."""
        maps = _to_maps(x)
        added: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(maps)))))
        return _to_tokens(F.gelu(maps + added))


class _Merging(nn.Module):
    """The end of a stage: the channels of the next one, and every second token in both directions if the
    stride is 2."""

    def __init__(self, channels: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(channels, outputs, 1)
        self.conv2 = _ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = _ConvNorm(outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        merged: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(_to_maps(x))))))
        return _to_tokens(merged).float()


class _Block(nn.Module):
    """Attention within windows, a convolution, and an MLP."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.attn = _Attention(channels, heads, window)
        self.local_conv = _ConvNorm(channels, channels, 3, groups=channels)
        self.mlp = _Mlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) in float32, and so is the result."""
        x = _to_tokens(self.local_conv(_to_maps(x + self.attn(x))))
        added: Tensor = x + self.mlp(x)
        return added


class _Mlp(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, EXPANSION * channels)
        self.fc2 = nn.Linear(EXPANSION * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        mapped: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x).to(self.fc1.weight.dtype))))
        return mapped


class _Attention(nn.Module):
    """Attention within windows, with a bias for each distance between two tokens, in rows and columns."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window**2))  # rows apart · w + columns apart

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D); the result is in the precision of the weights.

        Tokens beyond the image are zeros before the norm, so its bias is what they are after it.
        """
        dtype = self.qkv.weight.dtype
        qkv = self.qkv(self.norm(x).to(dtype))  # (B, H, W, 3 D)
        windows = to_windows(qkv, self.window, self.qkv(self.norm.bias.to(dtype)))  # (windows, w, w, 3 D)
        q, k, v = windows.view(len(windows), self.window**2, self.heads, 3, -1).permute(3, 0, 2, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=self._biases().to(dtype))
        attended = attended.transpose(1, 2).reshape(len(windows), self.window, self.window, -1)
        projected: Tensor = self.proj(from_windows(attended, x.shape))
        return projected

    def _biases(self) -> Tensor:
        """(1, N, L, L). From the table each time: the authors' code keeps them when the model is set to
        inference, and answers with old ones if weights are loaded after that."""
        place = torch.arange(self.window, device=self.attention_biases.device)
        distance = (place[:, None] - place).abs()  # (w, w)
        pairs = distance[:, None, :, None] * self.window + distance[None, :, None, :]  # rows, then columns
        return self.attention_biases[None, :, pairs.reshape(self.window**2, -1)]
