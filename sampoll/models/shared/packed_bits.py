"""Masks as bits, packed on the device that made them."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from torch import Tensor


def packed_bits(mask: Tensor) -> Tensor:
    """(..., W) of bool to (..., W / 8) of uint8 on the same device: the leftmost pixel in the highest bit."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.packbits(mask.numpy(), axis=-1))
    return _packed_by_torch(mask)


def _packed_by_torch(mask: Tensor) -> Tensor:
    padded = F.pad(mask, (0, -mask.shape[-1] % 8))
    weights = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=mask.device)
    eights = padded.view(*padded.shape[:-1], -1, 8)
    return (eights * weights).sum(dim=-1, dtype=torch.uint8)
