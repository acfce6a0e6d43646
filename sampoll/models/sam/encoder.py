"""SAM's image encoder over the weights of `segment_anything`'s ImageEncoderViT, faster: batches, any
precision, stock attention kernels, and no work on padding.

Shapes: B images, S x S tokens (64 x 64), D channels, N heads of C = D / N channels, windows of w x w tokens.
Li, Mao, Girshick, He, "Exploring Plain Vision Transformer Backbones", https://arxiv.org/abs/2203.16527, for
windows; Li et al., "MViTv2", https://arxiv.org/abs/2112.01526, for decomposed relative positions.
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.image_encoder import Attention, Block, get_rel_pos
from torch import Tensor, nn

from sampoll.models.sam.attention import RelativePositions
from sampoll.models.shared.network import TorchEncoder


class Encoder(TorchEncoder):
    """The same function as `original`, up to rounding in `dtype`, in which all matrix products are computed.

    Sums along the residual path and norms are in float32, whatever `dtype` is.
    """

    def __init__(self, original: ImageEncoderViT, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.img_size = original.img_size
        self.patch: nn.Conv2d = original.patch_embed.proj.to(dtype)
        self.pos_embed = original.pos_embed
        tokens = original.img_size // self.patch.stride[0]
        self.blocks = nn.ModuleList(EncoderBlock(block, tokens, dtype) for block in original.blocks)
        self.neck_1x1: nn.Conv2d = original.neck[0].to(dtype)
        self.norm_1x1: LayerNorm2d = original.neck[1]
        self.neck_3x3: nn.Conv2d = original.neck[2].to(dtype)
        self.norm_3x3: LayerNorm2d = original.neck[3]
        self._compiled: tuple[int, list[Callable[[Tensor], Tensor]]] | None = None

    def compile_for(self, batch_size: int) -> None:
        """Compiles the blocks for batches of exactly this size; all others are computed as before.

        Takes about half a minute, or a few seconds if what it made is still cached. Raises what torch raises
        where it cannot, for want of a C compiler for example.
        """
        blocks = [torch.compile(block, dynamic=False) for block in self.blocks]
        self._compiled = batch_size, blocks
        size = self.img_size
        self(torch.zeros(batch_size, 3, size, size, device=self.patch.weight.device))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """One level, float32 of shape (B, 256, S, S), of normalised images of shape (B, 3, 16 S, 16 S)."""
        x = self._patches(images.to(self.dtype)).float()  # (B, S, S, D)
        if self.pos_embed is not None:
            x = x + self.pos_embed
        for block in self._blocks_for(len(images)):
            x = block(x)
        return (self._neck(x),)

    def _blocks_for(self, batch_size: int) -> Iterable[Callable[[Tensor], Tensor]]:
        if self._compiled is not None and self._compiled[0] == batch_size:
            return self._compiled[1]
        return self.blocks

    def _neck(self, x: Tensor) -> Tensor:
        """(B, S, S, D) to (B, 256, S, S)."""
        x = self.neck_1x1(x.to(self.dtype).permute(0, 3, 1, 2))
        x = _norm_channels(x, self.norm_1x1)
        return _norm_channels(self.neck_3x3(x.to(self.dtype)), self.norm_3x3)

    def _patches(self, images: Tensor) -> Tensor:
        """The patch projection, (B, 3, 16 S, 16 S) to (B, S, S, D). A convolution whose stride is its size is
        a matrix product, and faster as one."""
        batch, channels, side, _ = images.shape
        size = self.patch.kernel_size[0]
        grid = images.view(batch, channels, side // size, size, side // size, size)
        patches = grid.permute(0, 2, 4, 1, 3, 5).flatten(3)  # (B, S, S, 3 · 16 · 16)
        return F.linear(patches, self.patch.weight.flatten(1), self.patch.bias)


def exportable(original: ImageEncoderViT) -> Encoder:
    """The encoder in float32, ready for inference: what other engines are given to convert."""
    return Encoder(original, torch.float32).eval().requires_grad_(False)


class EncoderBlock(nn.Module):
    """Attention within windows or over all tokens, then an MLP, each added to the residual path."""

    def __init__(self, original: Block, tokens: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.window: int = original.window_size
        self.norm1, self.norm2, self.mlp = original.norm1, original.norm2, original.mlp.to(dtype)
        attention: Attention = original.attn
        self.heads: int = attention.num_heads
        self.qkv, self.proj = attention.qkv.to(dtype), attention.proj.to(dtype)
        self.positions = _positions(attention, self.window or tokens, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(B, S, S, D) in float32, and so is the result."""
        qkv = self.qkv(self._norm(x, self.norm1))  # (B, S, S, 3 D)
        attended = self._in_windows(qkv) if self.window else self._attended(qkv)
        x = x + self.proj(attended)
        added: Tensor = x + self.mlp(self._norm(x, self.norm2))
        return added

    def _norm(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        normed: Tensor = norm(x)
        return normed.to(self.dtype)

    def _in_windows(self, qkv: Tensor) -> Tensor:
        """Attention within windows of w x w tokens, the last ones padded.

        The original pads what the qkv projection gets with zeros, so a padding token's query, key and value
        are the projection's bias: the 4096 real tokens are projected, and the bias put around them.
        """
        batch, size, _, channels = qkv.shape
        w = self.window
        count = -(-size // w)
        padding = count * w - size
        right = self.qkv.bias.expand(batch, size, padding, channels)
        below = self.qkv.bias.expand(batch, padding, count * w, channels)
        padded = torch.cat([torch.cat([qkv, right], dim=2), below], dim=1)
        windows = padded.view(batch, count, w, count, w, channels).transpose(2, 3)
        attended = self._attended(windows.reshape(-1, w, w, channels))  # (B count², w, w, D)
        attended = attended.view(batch, count, count, w, w, -1).transpose(2, 3)
        return attended.reshape(batch, count * w, count * w, -1)[:, :size, :size]

    def _attended(self, qkv: Tensor) -> Tensor:
        """Attention over all of h x w tokens: (B, h, w, 3 D) to (B, h, w, D)."""
        batch, height, width, _ = qkv.shape
        q, k, v = qkv.view(batch, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended: Tensor = self.positions(q, k, v)  # (B, N, h w, C)
        return attended.transpose(1, 2).reshape(batch, height, width, -1)


def _positions(attention: Attention, size: int, dtype: torch.dtype) -> RelativePositions:
    """The tables (size, size, C): what a query at one row, or column, adds for a key at another."""
    if not attention.use_rel_pos:
        channels = attention.qkv.in_features // attention.num_heads
        nothing = torch.zeros(size, size, channels, dtype=dtype)
        return RelativePositions(nothing, nothing)
    rows = get_rel_pos(size, size, attention.rel_pos_h)
    columns = get_rel_pos(size, size, attention.rel_pos_w)
    return RelativePositions(rows.to(dtype), columns.to(dtype))


def _norm_channels(x: Tensor, norm: LayerNorm2d) -> Tensor:
    """LayerNorm over the channels of (B, C, S, S), in float32."""
    channels_last = x.float().permute(0, 2, 3, 1)
    normed = F.layer_norm(channels_last, (x.shape[1],), norm.weight, norm.bias, norm.eps)
    return normed.permute(0, 3, 1, 2)
