"""Inputs: submissions as received, and jobs after decoding and validation.

The classes here are the only declaration of a prompt: prompt files are validated against them. The `metadata`
of a field holds its allowed values and its description, for validation and for the JSON Schema.
"""

import itertools
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sampoll.core.result_summary import SkippedPrompt as SkippedPrompt

RgbImage: TypeAlias = NDArray[np.uint8]
"""Shape (H, W, 3), RGB, uint8 0..255, C-contiguous."""

Exif: TypeAlias = Literal["apply", "ignore"]
"""Whether the EXIF orientation of an image is applied before all other processing."""


DEFAULT_LABEL = "object"
MAX_NAME_CHARACTERS = 1000
"""Limit for labels and ids: every object of a result repeats them."""
MAX_TEXT_CHARACTERS = 256
"""Limit for words; a model may have a smaller one of its own."""
_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_INVISIBLE = r"\s\u200b-\u200f\u2060\ufeff"
TEXT_PATTERN = f"^[^{_CONTROL}]*[^{_CONTROL}{_INVISIBLE}][^{_CONTROL}]*$"
"""Words: something visible, in one line, without control characters. In the common part of the regular
expressions of Python, pydantic and JSON Schema."""

_CLOSED = {"extra": "forbid", "arbitrary_types_allowed": True}
"""Unknown keys are refused when a document is validated against one of these classes."""
MAX_COORDINATE = 1e9
"""In image pixels, from 0. OpenCV measures contours with 32 bits."""
_COORDINATE = {"ge": -MAX_COORDINATE, "le": MAX_COORDINATE, "allow_inf_nan": False, "strict": True}
_SHARE = {"ge": 0, "le": 1, "allow_inf_nan": False, "strict": True}


def _is_coordinate(value: float) -> bool:
    return abs(value) <= MAX_COORDINATE  # of NaN, this is false


@dataclass(frozen=True, slots=True)
class Point:
    """A place in image pixels, origin top left; `label` 1 lies on the object, 0 on the background."""

    __pydantic_config__: ClassVar[Any] = _CLOSED

    x: float = field(metadata=_COORDINATE)
    y: float = field(metadata=_COORDINATE)
    label: int = field(metadata={"ge": 0, "le": 1, "strict": True})

    def __post_init__(self) -> None:
        if not (_is_coordinate(self.x) and _is_coordinate(self.y)):
            raise ValueError(f"x and y must be finite, and within 1e9 of 0, got ({self.x}, {self.y})")
        if self.label not in (0, 1):
            raise ValueError(f"label must be 0 (background) or 1 (foreground), got {self.label}")


@dataclass(frozen=True, slots=True)
class Box:
    """Corners in image pixels, origin top left, x0 < x1 and y0 < y1."""

    __pydantic_config__: ClassVar[Any] = _CLOSED

    x0: float = field(metadata=_COORDINATE)
    y0: float = field(metadata=_COORDINATE)
    x1: float = field(metadata=_COORDINATE)
    y1: float = field(metadata=_COORDINATE)

    def __post_init__(self) -> None:
        if not all(map(_is_coordinate, (self.x0, self.y0, self.x1, self.y1))):
            raise ValueError("x0, y0, x1 and y1 must be finite, and within 1e9 of 0")
        if not self.x0 < self.x1:
            raise ValueError(f"x0 must be less than x1, got {self.x0} and {self.x1}")
        if not self.y0 < self.y1:
            raise ValueError(f"y0 must be less than y1, got {self.y0} and {self.y1}")


LOW_RES_SIDE = 256
"""Rows, and columns, of a mask prompt."""

LowResLogits: TypeAlias = NDArray[np.float32]
"""Shape (256, 256), float32: above 0 on the object. It covers a square with the image's longer side, as SAM
pads images: the image is at the top left, and the padding below it or to the right of it."""


class LowResMask:
    """A mask as a prompt: `content` is the file in which it came, and makes masks equal.

    The logits are kept compressed, because a small file of prompts may hold thousands of masks. No dataclass,
    so that no document is taken for one.
    """

    __slots__ = ("_compressed", "content")

    def __init__(self, content: bytes, logits: LowResLogits) -> None:
        self.content = content
        self._compressed = zlib.compress(logits.astype(np.float32).tobytes(), level=1)

    @property
    def logits(self) -> LowResLogits:
        """The mask as the model takes it, decompressed by each call; read-only."""
        logits = np.frombuffer(zlib.decompress(self._compressed), np.float32)
        return logits.reshape(LOW_RES_SIDE, LOW_RES_SIDE)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LowResMask) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)


@dataclass(frozen=True, slots=True)
class Everything:
    """All objects that a grid of points finds, in the words of segment_anything's SamAutomaticMaskGenerator.

    Masks are kept whose predicted IoU is above `pred_iou_thresh`, and whose area stays the same by the share
    `stability_score_thresh` while the threshold of the logits moves by `stability_score_offset` up and down.
    Of those whose boxes overlap by an IoU of more than `box_nms_thresh`, the best one is kept. Holes and
    islands of less than `min_mask_region_area` pixels are removed. A threshold of None is the model's own.
    """

    __pydantic_config__: ClassVar[Any] = _CLOSED

    points_per_side: int = field(default=32, metadata={"ge": 1, "le": 256, "strict": True})
    pred_iou_thresh: float | None = field(default=None, metadata=_SHARE)
    stability_score_thresh: float | None = field(default=None, metadata=_SHARE)
    stability_score_offset: float = field(default=1.0, metadata={**_SHARE, "le": 100})
    box_nms_thresh: float = field(default=0.7, metadata=_SHARE)
    min_mask_region_area: int = field(default=0, metadata={"ge": 0, "le": 10**9, "strict": True})


PLACED_KINDS = ("points", "box", "mask", "refine", "everything")
"""The kinds of prompts that name places: what a model takes that does not say what it takes."""
PROMPT_KINDS = (*PLACED_KINDS, "text")
"""The fields of a prompt that a model may take or not."""
ALONE_KINDS = ("everything", "text")
"""Those that cannot be combined with another."""
_LEFT_OUT: Any = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to segment: points, a box, a mask, any of them together; or everything; or what words name.
    `label` names the object; `id` is the sender's own.

    So many times as `refine` says, the answer itself is the next mask prompt, besides the points and the box.
    """

    __pydantic_config__: ClassVar[Any] = _CLOSED

    points: tuple[Point, ...] = field(
        default=(),
        metadata={
            "description": "Points on the object (label 1) and on the background (label 0).",
            "fail_fast": True,
        },
    )
    box: Box | None = field(default=None, metadata={"description": "A box around the object."})
    mask: LowResMask | None = field(default=None, metadata={"description": "A first estimate of the mask."})
    refine: int = field(
        default=0,
        metadata={
            "description": "How many times the mask is given to the model again, as a prompt.",
            "ge": 0,
            "le": 10,
            "strict": True,
        },
    )
    everything: Everything | None = field(
        default=None,
        metadata={"description": "All objects in the image, instead of all of the above."},
    )
    text: str | None = field(
        default=None,
        metadata={
            "description": "Words for what to segment, instead of all of the above.",
            "min_length": 1,
            "max_length": MAX_TEXT_CHARACTERS,
            "pattern": TEXT_PATTERN,
            "strict": True,
        },
    )
    score_thresh: float | None = field(
        default=None,
        metadata={
            "description": "Masks for the words with a lower score are dropped; null: the model's own.",
            **_SHARE,
        },
    )
    label: str = field(
        default=_LEFT_OUT,
        metadata={
            "description": "What the object is called; if left out, as the words, or else object.",
            "min_length": 1,
            "max_length": MAX_NAME_CHARACTERS,
            "strict": True,
        },
    )
    id: str | None = field(
        default=None,
        metadata={
            "description": "The sender's own name for this prompt.",
            "max_length": MAX_NAME_CHARACTERS,
            "strict": True,
        },
    )

    def __post_init__(self) -> None:
        kinds = self.kinds
        for alone in ALONE_KINDS:
            if alone in kinds and len(kinds) > 1:
                others = " and ".join(f'"{kind}"' for kind in kinds if kind != alone)
                raise ValueError(f'"{alone}" cannot be combined with {others}')
        if not set(kinds) - {"refine"}:
            raise ValueError('needs "points" (at least one), a "box", a "mask", "everything" or "text"')
        self._check_words()
        if self.label is _LEFT_OUT:
            object.__setattr__(self, "label", DEFAULT_LABEL if self.text is None else self.text)
        if not self.label:
            raise ValueError("label must not be empty")
        if max(len(self.label), len(self.id or "")) > MAX_NAME_CHARACTERS:
            raise ValueError(f"label and id must not have more than {MAX_NAME_CHARACTERS} characters")

    def _check_words(self) -> None:
        if self.text is None:
            if self.score_thresh is not None:
                raise ValueError('"score_thresh" is for "text" only')
            return
        if len(self.text) > MAX_TEXT_CHARACTERS:
            raise ValueError(f"text must not have more than {MAX_TEXT_CHARACTERS} characters")
        if not re.fullmatch(TEXT_PATTERN, self.text):
            raise ValueError("text must have something to read, and no control characters")
        if self.score_thresh is not None and not 0 <= self.score_thresh <= 1:
            raise ValueError(f"score_thresh must be 0 to 1, got {self.score_thresh}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those of PROMPT_KINDS that it has."""
        return tuple(kind for kind in PROMPT_KINDS if getattr(self, kind) not in (None, (), 0))


def skipped_prompt_of(document: Mapping[str, Any]) -> SkippedPrompt:
    """The skipped prompt that a document describes; TypeError or KeyError if it describes none."""
    index, identity = document["prompt"], document["id"]
    field, message = document["field"], document["message"]
    if type(index) is not int or not isinstance(identity, str | None):
        raise TypeError("prompt must be an integer, and id a string or null")
    if not (isinstance(field, str) and isinstance(message, str)):
        raise TypeError("field and message must be strings")
    return SkippedPrompt(index, identity, field, message)


@dataclass(frozen=True, slots=True)
class Submission:
    """One pair as received, not yet decoded.

    `name` is the stem of the result's files; `image_name` and `prompt_name` are for messages. `alone` is set
    if the submission was in flight when a process died: it must then run with nothing else in flight.
    `image_file` is the name of the image file, "" if only its content came; `image_path` is where its sender
    keeps it, if it is not kept under the name of the result.

    An image that never was a file comes as `pixels`, upright; `image` is empty then, and `image_sha256` is
    that of the pixels.
    """

    id: str
    name: str
    image_name: str
    prompt_name: str
    image: bytes = field(repr=False)
    prompt: bytes = field(repr=False)
    image_sha256: str
    alone: bool = False
    image_file: str = ""
    image_path: str = ""
    pixels: RgbImage | None = field(default=None, repr=False, compare=False)

    @property
    def image_bytes(self) -> int:
        """The memory that the image takes as it was received."""
        return len(self.image) if self.pixels is None else self.pixels.nbytes

    @property
    def content_bytes(self) -> int:
        """The memory that all of it takes as it was received."""
        return self.image_bytes + len(self.prompt)


def groups_of(submissions: Iterable[Submission]) -> Iterator[list[Submission]]:
    """The submissions in groups, in their order; one that must run alone is a group of its own."""
    for is_alone, group in itertools.groupby(submissions, lambda submission: submission.alone):
        if is_alone:
            yield from ([submission] for submission in group)
        else:
            yield list(group)


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image that was embedded before, without its pixels: its size (H, W), upright, and its embedding,
    which only its segmenter can use."""

    size: tuple[int, int]
    embedding: Any = field(repr=False)


def size_of(image: RgbImage | KnownImage) -> tuple[int, int]:
    """(H, W)."""
    return image.size if isinstance(image, KnownImage) else (image.shape[0], image.shape[1])


@dataclass(frozen=True, slots=True)
class Job:
    """A validated submission: its image is decoded, or its embedding is cached, and fits its prompts.

    `prompts` are those to be segmented, in the order of their file, and `skipped` the others of it.
    """

    id: str
    name: str
    image: RgbImage | KnownImage = field(repr=False)
    image_sha256: str
    prompts: tuple[Prompt, ...]
    decoding_seconds: float
    exif: Exif = "apply"
    skipped: tuple[SkippedPrompt, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """The image's (H, W)."""
        return size_of(self.image)
