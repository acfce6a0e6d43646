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


LOW_RES_SIDE = 256
"""Rows, and columns, of a mask prompt."""

LowResLogits: TypeAlias = NDArray[np.float32]
"""Shape (256, 256), float32: above 0 on the object. It covers the square of the image's longer side, as SAM
sees it: the image at the top left, what is left over below or to the right of it."""


@dataclass(frozen=True, slots=True)
class LowResMask:
    """A mask as a prompt: `content` is the file in which it came."""

    content: bytes = field(repr=False)
    logits: LowResLogits = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Everything:
    """All objects that a grid of points finds, in the words of segment_anything's SamAutomaticMaskGenerator.

    Masks are kept whose predicted IoU is above `pred_iou_thresh`, and whose area stays the same by the share
    `stability_score_thresh` while the threshold of the logits moves by `stability_score_offset` up and down.
    Of those whose boxes overlap by an IoU of more than `box_nms_thresh`, the best one is kept. Holes and
    islands of less than `min_mask_region_area` pixels are removed.
    """

    points_per_side: int = 32
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    min_mask_region_area: int = 0


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to segment: points, a box, a mask, any of them together; or everything. `label` names the object;
    `id` is the sender's own.

    So many times as `refine` says, the answer itself is the next mask prompt, besides the points and the box.
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None
    label: str = DEFAULT_LABEL
    id: str | None = None
    mask: LowResMask | None = None
    refine: int = 0
    everything: Everything | None = None

    def __post_init__(self) -> None:
        if self.everything is not None:
            if self.points or self.box or self.mask or self.refine:
                raise ValueError("everything cannot be combined with points, a box, a mask or refine")
        elif not self.points and self.box is None and self.mask is None:
            raise ValueError("a prompt needs at least one point, a box or a mask")
        if not self.label:
            raise ValueError("label must not be empty")

    @property
    def is_plain(self) -> bool:
        """Whether it is made of points and a box alone."""
        return self.mask is None and self.refine == 0 and self.everything is None


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
