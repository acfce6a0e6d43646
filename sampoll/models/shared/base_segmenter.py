"""What segmenters of promptable networks have in common, in torch or by another engine: prompts of many
images at once, "everything", and embeddings that can be kept."""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sampoll.core.jobs import Everything, Prompt, RgbImage
from sampoll.core.protocols import TakeMasks
from sampoll.core.results import Mask, ModelInfo
from sampoll.models.shared.embedding import Embedding
from sampoll.models.shared.gathering import gathered
from sampoll.models.shared.mask_making import Array, MaskMaker
from sampoll.models.shared.prompt_tokens import Task
from sampoll.models.shared.thresholds import MaskThresholds

P = ParamSpec("P")
S = TypeVar("S", bound="BaseSegmenter")
T = TypeVar("T")

QUEUED_BYTES = 2**28
"""Memory limit of the masks that a CUDA device makes before the first of them are waited for."""


class Calls(Protocol):
    """The calls of a segmenter: their order, and their errors in sampoll's words."""

    def one(self) -> AbstractContextManager[None]:
        """The context of one call; at its end, all that it began is finished."""

    def wait(self) -> None:
        """Returns when all that was begun is finished."""


def one_call(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Runs a method of a segmenter as one of its Calls."""

    @functools.wraps(method)
    def wrapped(segmenter: S, /, *arguments: P.args, **options: P.kwargs) -> T:
        with segmenter._calls.one():
            return method(segmenter, *arguments, **options)

    return wrapped


@dataclass(frozen=True)
class Weights:
    """Of which weights, and by which rules, embeddings are; `shapes` are those of their levels, (C, h, w)."""

    sha256: str
    preprocessing: int
    shapes: Sequence[tuple[int, ...]]


class BaseSegmenter(ABC):
    """Segments with a network of any family. Threads may call it at the same time."""

    def __init__(
        self, info: ModelInfo, weights: Weights, thresholds: MaskThresholds, masks: MaskMaker, calls: Calls
    ) -> None:
        self._info = info
        self._weights = weights
        self._thresholds = thresholds
        self._masks = masks
        self._calls = calls

    @property
    def info(self) -> ModelInfo:
        return self._info

    @abstractmethod
    def embed(self, images: Sequence[RgbImage]) -> list[Embedding]: ...

    @property
    def _computes_ahead(self) -> bool:
        """Whether the next batch can be begun before the first one is waited for."""
        return False

    def decode(self, work: Sequence[tuple[Embedding, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        return gathered(self.decode_into, work)

    @one_call
    def decode_into(self, work: Sequence[tuple[Embedding, Sequence[Prompt]]], take: TakeMasks) -> None:
        if not any(prompts for _, prompts in work):
            return
        self._decode_tasks(work, take)
        for image, (embedding, prompts) in enumerate(work):
            for number, prompt in enumerate(prompts):
                if prompt.everything is not None:
                    advance = functools.partial(take, image, number, ())
                    take(image, number, self._everything(embedding, prompt.everything, advance))

    def _decode_tasks(self, work: Sequence[tuple[Embedding, Sequence[Prompt]]], take: TakeMasks) -> None:
        """Hands on the masks of all prompts, except those of "everything"."""
        embeddings = [embedding for embedding, _ in work]
        images = self._masks.image_side(embeddings)
        on_host = self._masks.arrays.soon_on_host
        queued: list[_Queued] = []
        for tasks in self._masks.batches([prompts for _, prompts in work]):
            scores, packed = self._masks.packed_masks(embeddings, images, tasks)
            queued.append(_Queued(tasks, on_host(scores), [on_host(bits) for bits in packed]))
            # A CUDA device goes on with further batches before the first result is waited for.
            is_enough = sum(batch.nbytes for batch in queued) > QUEUED_BYTES
            if is_enough or not self._computes_ahead:
                self._hand_on(queued, embeddings, take)
        self._hand_on(queued, embeddings, take)

    def _hand_on(self, queued: list["_Queued"], embeddings: Sequence[Embedding], take: TakeMasks) -> None:
        """Hands on the masks of all batches in `queued`, and empties it."""
        self._calls.wait()
        for batch in queued:
            rows = (bits for several in batch.packed for bits in np.asarray(several))
            for task, score, bits in zip(batch.tasks, batch.scores.tolist(), rows, strict=True):
                mask = Mask.from_packed(bits, embeddings[task.image].original_size, score)
                take(task.image, task.prompt, [mask])
        queued.clear()

    def _everything(
        self, embedding: Embedding, everything: Everything, advance: Callable[[], None]
    ) -> list[Mask]:
        """The masks of all objects that a grid of points finds; calls `advance` for each part of the work."""
        # Here, because it imports torch, which takes seconds and which no other prompt needs.
        from sampoll.models.shared.automatic_masks import (
            Candidates,
            chosen_masks,
            good_ones,
            grid_prompts,
            stable_masks,
        )

        size, mask_threshold = embedding.original_size, self._masks.mask_threshold
        thresholds = self._thresholds.asked_by(everything)
        images = self._masks.image_side([embedding])
        candidates = Candidates(everything, size)
        for tasks in self._masks.batches([grid_prompts(everything, size)]):
            logits, scores = self._masks.every_candidate([embedding], images, tasks)
            logits, scores = logits.reshape(-1, *logits.shape[2:]), scores.reshape(-1)  # (C P, h, w), (C P,)
            good = good_ones(scores, thresholds)
            logits, scores = logits[good], scores[good]
            for some, rows in self._masks.upsampled(logits, size):
                offset = everything.stability_score_offset
                candidates.add(stable_masks(some, scores[rows], thresholds, offset, mask_threshold))
                advance()
        return chosen_masks(candidates.masks(), everything, advance)

    @property
    def embedding_key(self) -> str:
        # Not the engine: what engines of one precision compute is the same up to rounding.
        info, digests = self._info, [self._weights.sha256, self._info.encoder_sha256]
        weights = "-".join(sha256[:16] for sha256 in digests if sha256 is not None)
        return f"{info.name}-{weights}-{info.precision}-{self._weights.preprocessing}"

    @property
    def embedding_bytes(self) -> int:
        return 4 * sum(math.prod(shape) for shape in self._weights.shapes)

    def image_size(self, embedding: Embedding) -> tuple[int, int]:
        return embedding.original_size

    @one_call
    def packed(self, embedding: Embedding) -> dict[str, NDArray[Any]]:
        levels = zip(self._level_names, embedding.levels, strict=True)
        arrays = {name: np.asarray(self._masks.arrays.on_host(level)) for name, level in levels}
        return {**arrays, "sizes": np.array([embedding.original_size], np.int64)}

    @one_call
    def unpacked(self, arrays: Mapping[str, NDArray[Any]]) -> Embedding:
        levels = []
        for name, shape in zip(self._level_names, self._weights.shapes, strict=True):
            level = arrays[name]
            if level.shape != shape or level.dtype != np.float32:
                raise ValueError(f"{name} must be float32 of {shape}, and is {level.dtype} of {level.shape}")
            levels.append(self._masks.arrays.of(level))
        height, width = arrays["sizes"][0].tolist()  # more sizes are those of earlier versions
        return Embedding(tuple(levels), (height, width))

    @property
    def _level_names(self) -> list[str]:
        return ["features", *(f"features_{number}" for number in range(1, len(self._weights.shapes)))]

    @one_call
    def low_res_logits(self, embedding: Embedding, prompt: Prompt) -> tuple[Array, Array]:
        """The chosen mask's logits before upsampling, (h, w), and its predicted IoU, a scalar."""
        [tasks] = self._masks.batches([[prompt]])
        logits, scores = self._masks.logits([embedding], self._masks.image_side([embedding]), tasks)
        return logits[0], scores[0]

    @one_call
    def candidates(self, embedding: Embedding, prompt: Prompt) -> tuple[Array, Array, NDArray[np.bool_]]:
        """All C masks that the model gives for a prompt, in host memory: low-res logits (C, h, w), predicted
        IoUs (C,), and pixels (C, H, W)."""
        [tasks] = self._masks.batches([[prompt]])
        images = self._masks.image_side([embedding])
        logits, scores = (answer[0] for answer in self._masks.every_candidate([embedding], images, tasks))
        full = self._masks.rules.full_size(logits, embedding.original_size)
        on_host = self._masks.arrays.on_host
        pixels = np.asarray(on_host(full > self._masks.mask_threshold))
        return on_host(logits), on_host(scores), pixels


@dataclass(frozen=True, slots=True, eq=False)
class _Queued:
    """One batch of prompts with its results in host memory: predicted IoUs (P,), and bits in parts."""

    tasks: Sequence[Task]
    scores: Array
    packed: Sequence[Array]

    @property
    def nbytes(self) -> int:
        return sum(bits.nbytes for bits in self.packed)
