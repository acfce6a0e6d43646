"""What comes out: masks, the segmentation they belong to, and finished files in bytes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sampoll.core.jobs import Exif, Prompt, Submission

BoolMask: TypeAlias = NDArray[np.bool_]
"""Shape (H, W), bool, True on the object."""

PackedMask: TypeAlias = NDArray[np.uint8]
"""Shape (H, ceil(W / 8)), uint8: eight pixels a byte, the leftmost in the highest bit, rows padded with 0."""


@dataclass(frozen=True, slots=True)
class PixelBox:
    """The smallest box around a mask's pixels: integers, inclusive on every side."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """One object's pixels, eight to a byte.

    `size` is (H, W); `box` is None for an empty mask. `score` is the model's own estimate of quality: for
    SAM the predicted IoU, which can lie a little outside 0..1.
    """

    packed: PackedMask = field(repr=False)
    size: tuple[int, int]
    box: PixelBox | None
    score: float

    def __post_init__(self) -> None:
        height, width = self.size
        if self.packed.dtype != np.uint8 or self.packed.shape != (height, (width + 7) // 8):
            raise ValueError(
                f"packed must be uint8 of shape {(height, (width + 7) // 8)}, "
                f"got {self.packed.dtype} of shape {self.packed.shape}"
            )
        if not np.isfinite(self.score):
            raise ValueError(f"score must be finite, got {self.score}")

    @classmethod
    def from_array(cls, pixels: BoolMask, score: float) -> Self:
        """The mask of `pixels`, shape (H, W); ValueError for any other shape or dtype than bool."""
        if pixels.ndim != 2 or pixels.dtype != np.bool_:
            raise ValueError(f"pixels must be bool of shape (H, W), got {pixels.dtype} of {pixels.shape}")
        height, width = pixels.shape
        return cls.from_packed(np.packbits(pixels, axis=1), (height, width), score)

    @classmethod
    def from_packed(cls, packed: PackedMask, size: tuple[int, int], score: float) -> Self:
        """The mask of these bits; `size` is (H, W)."""
        return cls(packed, size, _box_around_bits(packed), float(score))

    @property
    def area(self) -> int:
        """How many pixels it has."""
        return int(np.count_nonzero(np.unpackbits(self.packed)))

    def pixels(self) -> BoolMask:
        """The mask unpacked, shape (H, W)."""
        return np.unpackbits(self.packed, axis=1, count=self.size[1]).view(np.bool_)

    def pixels_in(self, box: PixelBox) -> BoolMask:
        """The part of it inside `box`, unpacked."""
        some = self.packed[box.top : box.bottom + 1, box.left // 8 : box.right // 8 + 1]
        unneeded = box.left % 8
        bits = np.unpackbits(some, axis=1)[:, unneeded : unneeded + box.right - box.left + 1]
        return np.ascontiguousarray(bits).view(np.bool_)


def _box_around_bits(packed: PackedMask) -> PixelBox | None:
    rows = np.flatnonzero(packed.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(np.unpackbits(np.bitwise_or.reduce(packed, axis=0)))
    return PixelBox(int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model made a mask: its name, where it ran, and, if it has weights, their sha256, the precision
    in which it computed, and the engine that did."""

    name: str
    device: str = "cpu"
    checkpoint_sha256: str | None = None
    precision: str | None = None
    engine: str | None = None


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The masks of one job: `masks[k]` are those of `prompts[k]`.

    `name` is the result's path below the output, without a suffix, `image_file` the name of the image as it
    came, and `image` its content. `size` is the image's (H, W); `seconds` maps a stage to what it took, a
    batch's stages divided by its images.
    """

    job_id: str
    name: str
    prompts: tuple[Prompt, ...]
    masks: tuple[tuple[Mask, ...], ...]
    model: ModelInfo
    size: tuple[int, int]
    image_sha256: str
    seconds: Mapping[str, float]
    exif: Exif = "apply"
    image_file: str = ""
    image: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Artifact:
    """One finished output. Its path is the result's name followed by `suffix`, which may begin with a folder
    for all files of its kind: `png8/.png` of sub/cat is png8/sub/cat.png."""

    suffix: str
    content: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


RECORDED_STAGES = ("image_decoding", "embedding", "mask_decoding")
"""The stages that a record can tell the seconds of; it is rendered before the others have ended."""


@dataclass(frozen=True, slots=True)
class ResultSummary:
    """What there is to say of a result without its pixels.

    `suffixes` are those of its files, except the record; `seconds` maps a stage to what it took; `scores[k]`
    are those of the masks of prompt k.
    """

    suffixes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    scores: tuple[tuple[float, ...], ...] = ()

    @property
    def masks(self) -> int:
        """How many masks there are."""
        return sum(map(len, self.scores))

    def published_in(self, seconds: float) -> Self:
        """The same, with what publishing took."""
        return replace(self, seconds={**self.seconds, "publishing": seconds})


NO_SUMMARY = ResultSummary()
"""The summary of a result of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Everything that is to be published for one submission, the commit record last."""

    submission: Submission
    artifacts: tuple[Artifact, ...]
    summary: ResultSummary = NO_SUMMARY
