"""Tensors on a device, as the arrays of a decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from sampoll.models.shared.packed_bits import packed_bits


@dataclass(frozen=True)
class TorchArrays:
    """Arrays as tensors on `device`."""

    device: torch.device

    def of(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def stacked(self, arrays: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(arrays))

    def packed_bits(self, mask: Tensor) -> Tensor:
        return packed_bits(mask)

    def on_host(self, array: Tensor) -> Tensor:
        return array.cpu()

    def soon_on_host(self, array: Tensor) -> Tensor:
        return _to_host(array)


def _to_host(tensor: Tensor) -> Tensor:
    """A copy in host memory; that of a CUDA tensor is complete only after `ThreadStreams.wait`."""
    return tensor if tensor.device.type == "cpu" else tensor.to("cpu", non_blocking=True)
