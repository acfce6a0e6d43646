"""Hiera, SAM 2's image encoder: a transformer in four stages, each with half the rows and columns of tokens
and twice the channels of the one before. Ryali et al., https://arxiv.org/abs/2306.00989.

Shapes: B images, H x W tokens, D channels, N heads, windows of w x w tokens.
"""

import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from torch import Tensor, nn

from sampoll.models.sam2.sizes import HieraSizes
from sampoll.models.shared.sam2_network import named, with_products_in
from sampoll.models.shared.windows import from_windows, to_windows


class Hiera(nn.Module):
    """The weights by the authors' names, of the part called `image_encoder.trunk`."""

    def __init__(self, sizes: HieraSizes, img_size: int = 1024) -> None:
        super().__init__()
        self.side = img_size // 4
        self.channels = tuple(sizes.width * 2**stage for stage in range(len(sizes.depths)))
        self.depths = sizes.depths
        self.patch_embed = named(proj=nn.Conv2d(3, sizes.width, 7, stride=4, padding=3))
        self.pos_embed = nn.Parameter(torch.empty(1, sizes.width, sizes.background, sizes.background))
        window = sizes.windows[0]
        self.pos_embed_window = nn.Parameter(torch.empty(1, sizes.width, window, window))
        self.blocks = nn.ModuleList(_blocks(sizes))

    def trunk(self, dtype: torch.dtype) -> "HieraTrunk":
        return HieraTrunk(self, dtype)

    def positions(self) -> Tensor:
        """What each token of the image gets added, (1, H, W, D): coarse positions stretched over the image,
        and positions within a window, which repeat."""
        stretched = F.interpolate(self.pos_embed, size=(self.side, self.side), mode="bicubic")
        repeats = self.side // self.pos_embed_window.shape[-1]
        return (stretched + self.pos_embed_window.tile(1, 1, repeats, repeats)).permute(0, 2, 3, 1)


class HieraTrunk(nn.Module):
    """Hiera ready for inference, with matrix products in `dtype`."""

    def __init__(self, weights: Hiera, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.patch = weights.patch_embed.to(dtype)
        self.blocks = weights.blocks
        with_products_in(self.blocks, dtype)
        self.register_buffer("positions", weights.positions(), persistent=False)
        self.positions: Tensor
        self.last_blocks = {sum(weights.depths[: stage + 1]) - 1 for stage in range(len(weights.depths))}

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The maps (B, D, H, W) after each stage, in float32, of images (B, 3, 4 H, 4 W)."""
        x = self.patch(images.to(self.dtype)).float().permute(0, 2, 3, 1) + self.positions
        maps = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.last_blocks:
                maps.append(x.permute(0, 3, 1, 2))
        return tuple(maps)


class HieraBlock(nn.Module):
    """Attention within windows, or over all tokens where `window` is 0, then an MLP, each added to the
    residual path.

    The first block of a stage doubles the channels, and keeps the largest of each four tokens and queries.
    """

    def __init__(self, inputs: int, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm1 = nn.LayerNorm(inputs, eps=1e-6)
        self.attn = _Attention(inputs, channels)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = _Mlp(channels)
        self.proj = nn.Linear(inputs, channels) if channels != inputs else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) in float32; so is the result, (B, H / 2, W / 2, 2 D) at the beginning of a stage."""
        dtype = self.attn.qkv.weight.dtype
        normed = self.norm1(x).to(dtype)
        shortcut = x if self.proj is None else _pooled(self.proj(normed)).float()
        attended = self._attended_in_windows(self.attn.qkv(normed), shortcut.shape)
        x = shortcut + self.attn.proj(attended)
        added: Tensor = x + self.mlp(self.norm2(x).to(dtype))
        return added

    def _attended_in_windows(self, qkv: Tensor, shape: torch.Size) -> Tensor:
        """(B, H, W, 3 D) to (B, H, W, D) of `shape`. A token beyond the image is a zero before the
        projection, and so the projection's bias after it."""
        if not self.window:
            return self._attended(qkv)
        return from_windows(self._attended(to_windows(qkv, self.window, self.attn.qkv.bias)), shape)

    def _attended(self, qkv: Tensor) -> Tensor:
        """Attention over all of h x w tokens: (B, h, w, 3 D) to (B, h, w, D), h and w as the
        queries are pooled."""
        batch, height, width, _ = qkv.shape
        q, k, v = qkv.reshape(batch, height, width, 3, -1).unbind(3)
        q = q if self.proj is None else _pooled(q)
        rows, columns = q.shape[1:3]
        # Never with the argument `scale`: OpenVINO converts that wrongly where there is one head.
        attended = F.scaled_dot_product_attention(self._by_head(q), self._by_head(k), self._by_head(v))
        return attended.transpose(1, 2).reshape(batch, rows, columns, -1)

    def _by_head(self, x: Tensor) -> Tensor:
        """(B, h, w, D) to (B, N, h w, D / N)."""
        return x.reshape(len(x), x.shape[1] * x.shape[2], self.heads, -1).transpose(1, 2)


class _Attention(nn.Module):
    """The projections of a block's attention, by the authors' names."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(inputs, 3 * channels)
        self.proj = nn.Linear(channels, channels)


class _Mlp(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers[1](F.gelu(self.layers[0](x)))
        return out


def _blocks(sizes: HieraSizes) -> list[HieraBlock]:
    blocks: list[HieraBlock] = []
    for stage, depth in enumerate(sizes.depths):
        channels, heads = sizes.width * 2**stage, sizes.heads * 2**stage
        for place in range(depth):
            # The first block of a stage has the tokens, and the windows, of the stage before.
            begins = place == 0 and stage > 0
            inputs = channels // 2 if begins else channels
            window = (
                0 if len(blocks) in sizes.global_blocks else sizes.windows[stage - 1 if begins else stage]
            )
            blocks.append(HieraBlock(inputs, channels, heads, window))
    return blocks


def _pooled(x: Tensor) -> Tensor:
    """The largest of each 2 x 2 tokens: (B, H, W, D) to (B, H / 2, W / 2, D)."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
