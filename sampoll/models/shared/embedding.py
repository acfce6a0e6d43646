"""What the mask decoder gets of an image."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One image as the mask decoder sees it, and the image's (H, W).

    `levels` are the maps that the encoder makes, each (C, h, w) in float32: arrays of what computes.
    """

    levels: tuple[Any, ...] = field(repr=False)
    original_size: tuple[int, int]
