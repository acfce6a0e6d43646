"""What image encoders for SAM's mask decoder have in common: blocks over the tokens of the image, and a neck,
which makes of the last tokens the features that the decoder takes."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from sampoll.models.shared.network import TorchEncoder


class TrunkEncoder(TorchEncoder, ABC):
    """Its blocks get the tokens in float32, and return them in float32."""

    def __init__(self, img_size: int, blocks: nn.ModuleList, neck: "Neck") -> None:
        super().__init__()
        self.img_size = img_size
        self.blocks = blocks
        self.neck = neck
        self._compiled: tuple[int, list[Callable[[Tensor], Tensor]]] | None = None

    @abstractmethod
    def first_tokens(self, images: Tensor) -> Tensor:
        """What the first block gets, in float32."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Features, float32 of shape (B, 256, S, S), of normalised images of shape (B, 3, 16 S, 16 S)."""
        return (self.neck(deque(self.stages(images), maxlen=1).pop()),)

    def stages(self, images: Tensor) -> Iterator[Tensor]:
        """The tokens after each block, float32 of shape (B, h, w, D)."""
        x = self.first_tokens(images)
        for block in self._blocks_for(len(images)):
            x = block(x)
            yield x

    def compile_for(self, batch_size: int) -> None:
        """Compiles the blocks for batches of exactly this size; all others are computed as before.

        Takes about half a minute, or a few seconds if what it made is still cached. Raises what torch raises
        where it cannot, for want of a C compiler for example.
        """
        blocks = [torch.compile(block, dynamic=False) for block in self.blocks]
        self._compiled = batch_size, blocks
        device = next(self.parameters()).device
        self(torch.zeros(batch_size, 3, self.img_size, self.img_size, device=device))

    def _blocks_for(self, batch_size: int) -> Iterable[Callable[[Tensor], Tensor]]:
        if self._compiled is not None and self._compiled[0] == batch_size:
            return self._compiled[1]
        return self.blocks


class Neck(nn.Module):
    """Two convolutions without bias, each with a norm over the channels."""

    def __init__(self, original: nn.Sequential, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.conv_1x1: nn.Module = original[0].to(dtype)
        self.norm_1x1: LayerNorm2d = original[1]
        self.conv_3x3: nn.Module = original[2].to(dtype)
        self.norm_3x3: LayerNorm2d = original[3]

    def forward(self, x: Tensor) -> Tensor:
        """(B, S, S, D) to (B, 256, S, S)."""
        x = self.conv_1x1(x.to(self.dtype).permute(0, 3, 1, 2))
        x = _norm_channels(x, self.norm_1x1)
        return _norm_channels(self.conv_3x3(x.to(self.dtype)), self.norm_3x3)


def _norm_channels(x: Tensor, norm: LayerNorm2d) -> Tensor:
    """LayerNorm over the channels of (B, C, S, S), in float32."""
    channels_last = x.float().permute(0, 2, 3, 1)
    normed = F.layer_norm(channels_last, (x.shape[1],), norm.weight, norm.bias, norm.eps)
    return normed.permute(0, 3, 1, 2)
