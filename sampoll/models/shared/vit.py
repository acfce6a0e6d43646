"""SAM's image encoder over the weights of `segment_anything`'s ImageEncoderViT, faster: batches, any
precision, stock attention kernels, and no work on padding.

Shapes: B images, S x S tokens (64 x 64), D channels, N heads of C = D / N channels, windows of w x w tokens.
Li, Mao, Girshick, He, "Exploring Plain Vision Transformer Backbones", https://arxiv.org/abs/2203.16527, for
windows; Li et al., "MViTv2", https://arxiv.org/abs/2112.01526, for decomposed relative positions.
"""

import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import Attention, Block, get_rel_pos
from torch import Tensor, nn

from sampoll.models.shared.relative_positions import RelativePositions
from sampoll.models.shared.trunk import Neck, TrunkEncoder
from sampoll.models.shared.windows import from_windows, to_windows


class Encoder(TrunkEncoder):
    """The same function as `original`, up to rounding in `dtype`, in which all its matrix products are."""

    def __init__(self, original: ImageEncoderViT, dtype: torch.dtype) -> None:
        patch: nn.Conv2d = original.patch_embed.proj.to(dtype)
        tokens = original.img_size // patch.stride[0]
        blocks = nn.ModuleList(EncoderBlock(block, tokens, dtype) for block in original.blocks)
        super().__init__(original.img_size, blocks, Neck(original.neck, dtype))
        self.dtype = dtype
        self.patch = patch
        self.pos_embed = original.pos_embed

    def first_tokens(self, images: Tensor) -> Tensor:
        x = self._patches(images.to(self.dtype)).float()  # (B, S, S, D)
        return x if self.pos_embed is None else x + self.pos_embed

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
        windows = to_windows(qkv, self.window, self.qkv.bias)
        return from_windows(self._attended(windows), qkv.shape)

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
