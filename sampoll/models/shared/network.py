"""What a family of models gives: its encoder, its decoder, and its rules for images and prompts. All else
(batches, streams, engines, the cache, everything mode, comparison) is the same for all of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sampoll.core.jobs import RgbImage
from sampoll.models.shared.decoder import Decoder
from sampoll.models.shared.prompt_tokens import TokensOf, prompt_tokens
from sampoll.models.shared.thresholds import SAM_THRESHOLDS, MaskThresholds

Levels: TypeAlias = tuple[Tensor, ...]
"""What an encoder makes of one image: maps of shape (C, h, w), float32. Most families have one."""


class ImageEncoder(Protocol):
    """What turns normalised images, (B, 3, S, S) float32 on the model's device, into levels, each
    (B, C, h, w) in float32."""

    @property
    def engine(self) -> str: ...

    @property
    def sha256(self) -> str | None:
        """The digest of weights that are not computed from the checkpoint alone; None if it has none."""

    @property
    def img_size(self) -> int: ...

    def __call__(self, images: Tensor) -> Levels: ...


class TorchEncoder(nn.Module):
    """An ImageEncoder in torch: matrix products in the dtype with which it was made, sums along the residual
    path and norms in float32. One that can be compiled has `compile_for(batch_size)` too."""

    engine = "torch"
    sha256 = None
    img_size: int


class ImageRules(Protocol):
    """How a family sees images: pixels and geometry, without weights. A `size` is an image's (H, W).

    The prepared image is a square of S x S, S = `img_size`.
    """

    @property
    def img_size(self) -> int: ...

    def prepared(self, image: RgbImage, device: torch.device, *, exact: bool) -> Tensor:
        """What the encoder gets, (3, S, S), normalised: if `exact`, up to the last bit what the authors' code
        makes; else it may be made faster, with differences below the rounding of the lower precisions."""

    def places(self, points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        """Points (T, 2) in image pixels, in pixels of the prepared image."""

    def full_size(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Low-res logits (K, h, w) at the size of the image: (K, H, W)."""

    def mask_input(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """A mask prompt, LowResLogits (256, 256), as the decoder takes it: (h, w)."""

    def refined(self, logits: Tensor) -> Tensor:
        """Low-res logits of an answer as the decoder takes them as the next mask prompt."""


@dataclass(frozen=True, eq=False)
class Network:
    """One model with its weights, on the CPU, ready for inference.

    `encoder` makes the encoder in torch, whose matrix products are in the given dtype. It may take the
    weights over, and is called once at most.
    """

    encoder: Callable[[torch.dtype], TorchEncoder] = field(repr=False)
    decoder: Decoder = field(repr=False)
    rules: ImageRules
    levels: tuple[tuple[int, ...], ...]
    """The shapes (C, h, w) of what the encoder makes of an image."""
    tokens: TokensOf = prompt_tokens
    mask_threshold: float = 0.0
    everything: MaskThresholds = SAM_THRESHOLDS
    """Those of "everything" where a prompt does not say them."""
    preprocessing: int = 1
    """Increased when the same image, weights and precision give another embedding than before."""
