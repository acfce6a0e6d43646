"""Outputs: masks, the segmentation that they belong to, and finished files as bytes."""

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from sampoll.core.jobs import Exif, Prompt, RgbImage, SkippedPrompt, Submission
from sampoll.core.names import kept_image
from sampoll.core.result_summary import NO_SUMMARY as NO_SUMMARY
from sampoll.core.result_summary import RECORDED_STAGES as RECORDED_STAGES
from sampoll.core.result_summary import ModelInfo as ModelInfo
from sampoll.core.result_summary import ResultSummary as ResultSummary

T = TypeVar("T")

BoolMask: TypeAlias = NDArray[np.bool_]
"""Shape (H, W), bool, True on the object."""

PackedMask: TypeAlias = NDArray[np.uint8]
"""Shape (H, ceil(W / 8)), uint8: 8 pixels per byte, the leftmost in the highest bit, rows padded with 0."""


@dataclass(frozen=True, slots=True)
class PixelBox:
    """The smallest box around a mask's pixels: integers, inclusive on every side."""

    left: int
    top: int
    right: int
    bottom: int


FAST = 1
"""zlib's level 1: on masks, higher ones save little more space."""


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """The pixels of one object, eight per byte, or compressed.

    `size` is (H, W); `box` is None for an empty mask. `score` is the model's own estimate of quality: for
    SAM the predicted IoU, which can lie a little outside 0..1.
    """

    bits: PackedMask | bytes = field(repr=False)
    """Packed bits of the whole image, or what `compressed` makes of them."""
    size: tuple[int, int]
    box: PixelBox | None
    score: float

    def __post_init__(self) -> None:
        height, width = self.size
        shape, bits = (height, (width + 7) // 8), self.bits
        if not isinstance(bits, bytes) and (bits.dtype != np.uint8 or bits.shape != shape):
            raise ValueError(f"packed must be uint8 of shape {shape}, got {bits.dtype} of shape {bits.shape}")
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
    def packed(self) -> PackedMask:
        """The bits of the whole image; those of a compressed mask are decompressed by each call."""
        if not isinstance(self.bits, bytes):
            return self.bits
        height, width = self.size
        whole = np.zeros((height, (width + 7) // 8), np.uint8)
        if self.box is not None:
            part = whole[_bytes_in(self.box)]
            part[:] = np.frombuffer(zlib.decompress(self.bits), np.uint8).reshape(part.shape)
        return whole

    @property
    def nbytes(self) -> int:
        """The memory that the pixels take."""
        return len(self.bits) if isinstance(self.bits, bytes) else self.bits.nbytes

    def compressed(self) -> Self:
        """The same mask in less memory: usually a hundredth of it, and about as much at worst."""
        if isinstance(self.bits, bytes):
            return self
        part = b"" if self.box is None else self.bits[_bytes_in(self.box)].tobytes()
        return replace(self, bits=zlib.compress(part, FAST))

    def with_pixels(self, pixels: BoolMask) -> Self:
        """A mask of `pixels` with this one's score, compressed if this one is."""
        mask = self.from_array(pixels, self.score)
        return mask.compressed() if isinstance(self.bits, bytes) else mask

    @property
    def area(self) -> int:
        """The number of pixels on the object."""
        return int(np.count_nonzero(np.unpackbits(self.packed)))

    def pixels(self) -> BoolMask:
        """The mask unpacked, shape (H, W)."""
        return np.unpackbits(self.packed, axis=1, count=self.size[1]).view(np.bool_)

    def pixels_in(self, box: PixelBox) -> BoolMask:
        """The part of the mask inside `box`, unpacked."""
        some = self.packed[_bytes_in(box)]
        unneeded = box.left % 8
        bits = np.unpackbits(some, axis=1)[:, unneeded : unneeded + box.right - box.left + 1]
        return np.ascontiguousarray(bits).view(np.bool_)


def _bytes_in(box: PixelBox) -> tuple[slice, slice]:
    """The rows and columns of packed bits that hold the pixels inside `box`."""
    return slice(box.top, box.bottom + 1), slice(box.left // 8, box.right // 8 + 1)


def _box_around_bits(packed: PackedMask) -> PixelBox | None:
    [rows] = np.bitwise_or.reduce(packed, axis=1).nonzero()
    if rows.size == 0:
        return None
    [columns] = np.unpackbits(np.bitwise_or.reduce(packed, axis=0)).nonzero()
    return PixelBox(int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The masks of one job: `masks[k]` are those of `prompts[k]`.

    `name` is the result's path below the output, without a suffix, `image_file` the original name of the
    image file, and `image` its content; an image that never was a file is there as `pixels`. `size` is the
    image's (H, W); `seconds` maps a stage to its duration, which, for the stages of a batch, is divided by
    the number of images. `skipped` are the bad prompts of the file, which are not among `prompts`.
    `image_path` is where the image's sender keeps it, if it is not kept under the name of the result.
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
    skipped: tuple[SkippedPrompt, ...] = ()
    image_path: str = ""
    pixels: RgbImage | None = field(default=None, repr=False, compare=False)

    @property
    def kept_image(self) -> str:
        """The path of the image below the folder where all images are: that of finished inputs, or the
        sender's."""
        return self.image_path or kept_image(self.name, self.image_file)

    @property
    def mask_bytes(self) -> int:
        """The memory that the masks take."""
        return sum(mask.nbytes for masks in self.masks for mask in masks)

    @property
    def indexes(self) -> tuple[int, ...]:
        """The index of each of `prompts` in the file."""
        if not self.skipped:
            return tuple(range(len(self.prompts)))
        left_out = {each.index for each in self.skipped}
        count = len(self.prompts) + len(left_out)
        return tuple(index for index in range(count) if index not in left_out)

    def in_file_order(self, values: Sequence[T], skipped: T) -> list[T]:
        """A value for each prompt of the file: for those that are skipped, it is `skipped`, and `values` are
        those of the others."""
        if not self.skipped:
            return list(values)
        by_index = dict(zip(self.indexes, values, strict=True))
        count = len(self.prompts) + len(self.skipped)
        return [by_index.get(index, skipped) for index in range(count)]

    def numbered_masks(self) -> Iterator[tuple[int, Prompt, Mask]]:
        """Each mask with its prompt, and its number among all masks of the file, from 0.

        A skipped prompt counts as one mask, so that the others have the same numbers once it is corrected.
        """
        number = 0
        answered: list[tuple[Prompt, tuple[Mask, ...]] | None] = [*zip(self.prompts, self.masks, strict=True)]
        for each in self.in_file_order(answered, None):
            if each is None:
                number += 1
                continue
            prompt, masks = each
            for mask in masks:
                yield number, prompt, mask
                number += 1


@dataclass(frozen=True, slots=True)
class Artifact:
    """One finished output. Its path is the result's name followed by `suffix`, which may begin with a folder
    for all files of its kind: `png8/.png` of sub/cat is png8/sub/cat.png."""

    suffix: str
    content: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Delivery:
    """Everything that is to be published for one submission, the commit record last."""

    submission: Submission
    artifacts: tuple[Artifact, ...]
    summary: ResultSummary = NO_SUMMARY
