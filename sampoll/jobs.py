"""What goes in: submissions as they arrive, and jobs once they are decoded and checked."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

RgbImage: TypeAlias = NDArray[np.uint8]
"""Shape (H, W, 3), RGB, uint8 0..255, C-contiguous."""

Exif: TypeAlias = Literal["apply", "ignore"]
"""Whether an image is turned as its EXIF orientation says before anything else happens to it."""

DEFAULT_LABEL = "object"


@dataclass(frozen=True, slots=True)
class Point:
    """A place in image pixels, origin top left; `label` 1 lies on the object, 0 on the background."""

    x: float
    y: float
    label: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.x) and math.isfinite(self.y)):
            raise ValueError(f"x and y must be finite, got ({self.x}, {self.y})")
        if self.label not in (0, 1):
            raise ValueError(f"label must be 0 (background) or 1 (foreground), got {self.label}")


@dataclass(frozen=True, slots=True)
class Box:
    """Corners in image pixels, origin top left, x0 < x1 and y0 < y1."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.x0, self.y0, self.x1, self.y1))):
            raise ValueError("x0, y0, x1 and y1 must be finite")
        if not self.x0 < self.x1:
            raise ValueError(f"x0 must be less than x1, got {self.x0} and {self.x1}")
        if not self.y0 < self.y1:
            raise ValueError(f"y0 must be less than y1, got {self.y0} and {self.y1}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to segment: points, a box, or both. `label` names the object; `id` is the sender's own."""

    points: tuple[Point, ...] = ()
    box: Box | None = None
    label: str = DEFAULT_LABEL
    id: str | None = None

    def __post_init__(self) -> None:
        if not self.points and self.box is None:
            raise ValueError("a prompt needs at least one point or a box")
        if not self.label:
            raise ValueError("label must not be empty")


@dataclass(frozen=True, slots=True)
class Submission:
    """One pair as it came, undecoded.

    `name` is the stem that results carry; `image_name` and `prompt_name` are for messages. An `alone`
    submission was in flight when a process died: it must run with nothing else in flight.
    """

    id: str
    name: str
    image_name: str
    prompt_name: str
    image: bytes = field(repr=False)
    prompt: bytes = field(repr=False)
    image_sha256: str
    alone: bool = False


@dataclass(frozen=True, slots=True)
class KnownImage:
    """What is left of an image that was embedded before: its size (H, W), upright, and its embedding, which
    only its segmenter understands."""

    size: tuple[int, int]
    embedding: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Job:
    """A submission whose image is decoded, or known, and fits its prompts."""

    id: str
    name: str
    image: RgbImage | KnownImage = field(repr=False)
    image_sha256: str
    prompts: tuple[Prompt, ...]
    decoding_seconds: float
    exif: Exif = "apply"

    @property
    def size(self) -> tuple[int, int]:
        """The image's (H, W)."""
        image = self.image
        return image.size if isinstance(image, KnownImage) else (image.shape[0], image.shape[1])
