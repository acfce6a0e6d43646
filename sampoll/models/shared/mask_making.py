"""Prompts and embeddings into masks, where the decoder computes: from batches of prompts to logits or
bits."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from sampoll.core.jobs import Prompt
from sampoll.models.shared.arrays import Arrays
from sampoll.models.shared.embedding import Embedding
from sampoll.models.shared.mask_choice import MaskPolicy
from sampoll.models.shared.prompt_tokens import Task, TokensOf, batches

UPSAMPLED_BYTES = 2**28
"""Memory limit of logits upsampled to the size of the image, or to the model's if that is larger."""

Array: TypeAlias = Any
"""Of the class of the decoder's Arrays."""


class MaskDecoder(Protocol):
    """A mask decoder: that of `decoder`, in torch, or that of `openvino_decoder`."""

    def image_side(self, embeddings: Sequence[tuple[Array, ...]]) -> Any:
        """What it computes of the levels of each image alone."""

    def __call__(
        self,
        images: Any,
        image_of: Array,
        places: Array,
        kinds: Array,
        policy: MaskPolicy,
        masks: Array | None = None,
    ) -> tuple[Array, Array]:
        """Logits (P, h, w) and predicted IoUs (P,), as `decoder.Decoder`."""

    def every_candidate(
        self, images: Any, image_of: Array, places: Array, kinds: Array
    ) -> tuple[Array, Array]:
        """Logits (P, C, h, w) and predicted IoUs (P, C)."""


class MaskRules(Protocol):
    """What is needed of ImageRules, or of NumpyRules."""

    @property
    def img_size(self) -> int: ...

    def places(self, points: Any, size: tuple[int, int]) -> Any: ...

    def full_size(self, logits: Any, size: tuple[int, int]) -> Any: ...

    def mask_input(self, logits: Any, size: tuple[int, int]) -> Any: ...

    def refined(self, logits: Any) -> Any: ...


@dataclass(eq=False)
class MaskMaker:
    """Makes masks by a decoder. At most `prompt_batch` prompts are decoded at once."""

    decoder: MaskDecoder
    rules: MaskRules
    arrays: Arrays
    tokens_of: TokensOf
    mask_threshold: float
    mask_policy: MaskPolicy
    prompt_batch: int

    def image_side(self, embeddings: Sequence[Embedding]) -> Any:
        return self.decoder.image_side([embedding.levels for embedding in embeddings])

    def batches(self, prompts: Sequence[Sequence[Prompt]]) -> Iterator[list[Task]]:
        """The prompts of each image, except "everything" prompts, as tasks that can be decoded at once."""
        return batches(prompts, self.prompt_batch, self.tokens_of)

    def logits(
        self, embeddings: Sequence[Embedding], images: Any, tasks: Sequence[Task]
    ) -> tuple[Array, Array]:
        """Low-res logits (P, h, w) and predicted IoUs (P,) of the chosen masks, for tasks of one batch."""
        tokens = self._tokens(embeddings, tasks)
        masks = self._mask_inputs(embeddings, tasks)
        logits, scores = self.decoder(images, *tokens, self.mask_policy, masks)
        for _ in range(tasks[0].refine):
            logits, scores = self.decoder(images, *tokens, "single", self.rules.refined(logits))
        return logits, scores

    def every_candidate(
        self, embeddings: Sequence[Embedding], images: Any, tasks: Sequence[Task]
    ) -> tuple[Array, Array]:
        """Low-res logits (P, C, h, w) and predicted IoUs (P, C) of all masks that the model gives for a
        prompt, for tasks of one batch without masks."""
        return self.decoder.every_candidate(images, *self._tokens(embeddings, tasks))

    def packed_masks(
        self, embeddings: Sequence[Embedding], images: Any, tasks: Sequence[Task]
    ) -> tuple[Array, list[Array]]:
        """Predicted IoUs (P,), and bits in parts of shape (some, H, W / 8): each has masks of one size, and
        no more of them than fit into UPSAMPLED_BYTES as logits."""
        logits, scores = self.logits(embeddings, images, tasks)
        parts = []
        for image, group in itertools.groupby(range(len(tasks)), lambda index: tasks[index].image):
            rows = list(group)
            size = embeddings[image].original_size
            for full, _ in self.upsampled(logits[rows[0] : rows[-1] + 1], size):
                parts.append(self.arrays.packed_bits(full > self.mask_threshold))
        return scores, parts

    def upsampled(self, logits: Array, size: tuple[int, int]) -> Iterator[tuple[Array, slice]]:
        """Low-res logits (K, h, w) at the size of the image, (some, H, W), and which of them: no more than
        fit into UPSAMPLED_BYTES at a time."""
        pixels = max(math.prod(size), self.rules.img_size**2)
        at_once = max(1, UPSAMPLED_BYTES // (4 * pixels))
        for start in range(0, len(logits), at_once):
            rows = slice(start, start + at_once)
            yield self.rules.full_size(logits[rows], size), rows

    def _tokens(self, embeddings: Sequence[Embedding], tasks: Sequence[Task]) -> tuple[Array, Array, Array]:
        """The images' numbers (P,), places (P, T, 2) and kinds (P, T) of tasks of equally many tokens."""
        places = [self.rules.places(task.places, embeddings[task.image].original_size) for task in tasks]
        return (
            self.arrays.of(np.array([task.image for task in tasks], np.int64)),
            self.arrays.of(np.stack(places).astype(np.float32)),
            self.arrays.of(np.stack([task.kinds for task in tasks])),
        )

    def _mask_inputs(self, embeddings: Sequence[Embedding], tasks: Sequence[Task]) -> Array | None:
        """The masks of the prompts as the decoder takes them, (P, h, w); None if they have none."""
        if tasks[0].mask is None:
            return None
        masks = self.arrays.of(np.stack([task.mask.logits for task in tasks if task.mask is not None]))
        sizes = [embeddings[task.image].original_size for task in tasks]
        return self.arrays.stacked(
            [self.rules.mask_input(mask, size) for mask, size in zip(masks, sizes, strict=True)]
        )
