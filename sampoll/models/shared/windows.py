"""Tokens of an image in square windows, the last ones padded."""

import torch
from torch import Tensor


def to_windows(tokens: Tensor, side: int, padding: Tensor) -> Tensor:
    """(B, H, W, C) to (B · windows, side, side, C); tokens beyond the image are `padding`, of shape (C,)."""
    batch, height, width, channels = tokens.shape
    rows, columns = _counts(tokens.shape, side)
    if (rows * side, columns * side) != (height, width):  # what needs no padding is not copied for it
        right = padding.expand(batch, height, columns * side - width, channels)
        below = padding.expand(batch, rows * side - height, columns * side, channels)
        tokens = torch.cat([torch.cat([tokens, right], dim=2), below], dim=1)
    windows = tokens.reshape(batch, rows, side, columns, side, channels).transpose(2, 3)
    return windows.reshape(-1, side, side, channels)


def from_windows(windows: Tensor, shape: torch.Size) -> Tensor:
    """(B · windows, side, side, any) back to (B, H, W, any), for tokens of `shape` (B, H, W, C)."""
    batch, height, width, _ = shape
    side = windows.shape[1]
    rows, columns = _counts(shape, side)
    padded = windows.view(batch, rows, columns, side, side, -1).transpose(2, 3)
    return padded.reshape(batch, rows * side, columns * side, -1)[:, :height, :width]


def _counts(shape: torch.Size, side: int) -> tuple[int, int]:
    """How many windows there are in rows and columns."""
    return -(-shape[1] // side), -(-shape[2] // side)
