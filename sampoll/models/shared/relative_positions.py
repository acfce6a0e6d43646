"""Attention with decomposed relative positions: softmax(q kᵀ / √C + rows + columns) v, without ever holding
the sums for all pairs of tokens at once.

rows[i, j] = q_i · R[row of i, row of j], and the same for columns: two small products, (L, h) and (L, w),
replace a bias of (L, L).
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

CUDA_KERNELS = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
"""In order of preference: on an H100, cuDNN's takes half the time of the next one for these shapes."""
Kernel: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""Of q, k, v, the biases by row and by column, and the places of the tokens."""
PAIRS_AT_ONCE = 4096**2
"""Pairs of tokens whose bias a CPU holds at once: those of global attention over one image."""


class RelativePositions(nn.Module):
    """Attention over h x w tokens; the tables are of shape (h, h, C) and (w, w, C)."""

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        height, width = len(rows), len(columns)
        row_of = torch.eye(height, dtype=rows.dtype).repeat_interleave(width, dim=0)
        column_of = torch.eye(width, dtype=rows.dtype).repeat(height, 1)
        # The kernels for CUDA take a multiple of 8 channels.
        padding = torch.zeros(height * width, -(rows.shape[-1] + height + width) % 8, dtype=rows.dtype)
        self.register_buffer("places", torch.cat([row_of, column_of, padding], dim=1), persistent=False)
        self.rows: Tensor
        self.columns: Tensor
        self.places: Tensor  # (L, h + w + padding): the row and the column of each token, one-hot

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """All of shape (B, N, L, C), L = h w; the result too."""
        by_row, by_column = self._biases(q)
        return _kernel_for(q)(q, k, v, by_row, by_column, self.places)

    def _biases(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, L, h) and (B, N, L, w)."""
        batch, heads, tokens, channels = q.shape
        grid = q.reshape(batch, heads, len(self.rows), len(self.columns), channels)
        by_row = torch.einsum("bnhwc,hkc->bnhwk", grid, self.rows)
        by_column = torch.einsum("bnhwc,wkc->bnhwk", grid, self.columns)
        return by_row.reshape(batch, heads, tokens, -1), by_column.reshape(batch, heads, tokens, -1)


def _kernel_for(q: Tensor) -> Kernel:
    if q.is_cuda:
        return _folded
    return _exported if torch.compiler.is_compiling() else _head_by_head


def _folded(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor, places: Tensor) -> Tensor:
    """The bias as part of the product: [q/√C, rows, columns] · [k, row of k, column of k]. No bias of (L, L)
    is ever written, which for global attention would be 400 MB an image and layer in bfloat16."""
    scaled = q * q.shape[-1] ** -0.5
    padding = q.new_zeros(*q.shape[:3], places.shape[-1] - by_row.shape[-1] - by_column.shape[-1])
    queries = torch.cat([scaled, by_row, by_column, padding], dim=-1)  # (B, N, L, C + h + w + padding)
    keys = torch.cat([k, places.expand(*k.shape[:2], -1, -1)], dim=-1)
    with sdpa_kernel(CUDA_KERNELS, set_priority=True):
        return F.scaled_dot_product_attention(queries, keys, v, scale=1.0)


def _head_by_head(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor, _: Tensor) -> Tensor:
    """One head of all windows, or of one image, at a time, so that the bias is small, and reuses memory that
    was written just before."""
    batch, heads, tokens = q.shape[:3]
    height, width = by_row.shape[-1], by_column.shape[-1]
    out = torch.empty_like(v, memory_format=torch.contiguous_format)
    at_once = max(1, PAIRS_AT_ONCE // tokens**2)
    bias = q.new_empty(min(at_once, batch), 1, tokens, height, width)
    for head in range(heads):
        for start in range(0, batch, at_once):
            some = slice(start, min(start + at_once, batch))
            part = (some, slice(head, head + 1))
            now = bias[: some.stop - start]
            torch.add(by_row[part].unsqueeze(-1), by_column[part].unsqueeze(-2), out=now)
            mask = now.view(-1, 1, tokens, tokens)
            out[part] = F.scaled_dot_product_attention(q[part], k[part], v[part], attn_mask=mask)
    return out


def _exported(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor, _: Tensor) -> Tensor:
    """The same for a graph that is exported, whose runtime plans the memory itself. Heads are apart where
    there are many tokens, because they share the memory of their biases then."""
    batch, heads, tokens = q.shape[:3]
    at_once = heads if batch * heads * tokens**2 <= PAIRS_AT_ONCE else 1
    parts = []
    for some in (slice(start, start + at_once) for start in range(0, heads, at_once)):
        bias = by_row[:, some].unsqueeze(-1) + by_column[:, some].unsqueeze(-2)  # (B, N, L, h, w)
        mask = bias.view(batch, -1, tokens, tokens)
        parts.append(F.scaled_dot_product_attention(q[:, some], k[:, some], v[:, some], attn_mask=mask))
    return torch.cat(parts, dim=1)
