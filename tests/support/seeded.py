"""Weights that are the same everywhere: from their names, and numpy's RandomState, which never changes."""

import re
import zlib
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def seeded(module: M, seed: int = 0) -> M:
    """The module with seeded weights, ready for inference."""
    module.load_state_dict(seeded_weights(module.state_dict(), seed))
    return module.requires_grad_(False).eval()


def seeded_weights(tensors: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Weights of these names and shapes, with which values neither vanish nor grow from layer to layer."""
    return {name: _seeded(name, tensor, seed) for name, tensor in tensors.items()}


def _seeded(name: str, tensor: Tensor, seed: int) -> Tensor:
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    shape = tuple(tensor.shape)
    random = np.random.RandomState([seed, zlib.crc32(name.encode())])
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        values = random.uniform(0.5, 1.5, shape)
    elif name.endswith("weight") and not re.search(r"(tokens?|_embed|embeddings\.\d)\.weight$", name):
        values = random.standard_normal(shape) * np.prod(shape[1:]) ** -0.5
    else:
        values = random.standard_normal(shape) * 0.5
    return torch.from_numpy(np.asarray(values, np.float32))
