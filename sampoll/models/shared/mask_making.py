"""Prompts and embeddings into masks, on the device: batches of prompts in, logits or bits out."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from sampoll.core.jobs import Prompt
from sampoll.models.shared.decoder import ImageSide, MaskPolicy
from sampoll.models.shared.network import Embedding, Network
from sampoll.models.shared.packed_bits import packed_bits
from sampoll.models.shared.prompt_tokens import Task, batches

UPSAMPLED_BYTES = 2**28
"""Memory limit of logits upsampled to the size of the image, or to the model's if that is larger."""


class MaskMaker:
    """Makes the masks of a network whose decoder is on `device`. At most `prompt_batch` prompts are decoded
    at once."""

    def __init__(
        self, network: Network, device: torch.device, mask_policy: MaskPolicy, prompt_batch: int
    ) -> None:
        self._decoder, self._rules, self._tokens_of = network.decoder, network.rules, network.tokens
        self.mask_threshold = network.mask_threshold
        self._device = device
        self._mask_policy: MaskPolicy = mask_policy
        self._prompt_batch = prompt_batch

    def image_side(self, embeddings: Sequence[Embedding]) -> ImageSide:
        return self._decoder.image_side([embedding.levels for embedding in embeddings])

    def batches(self, prompts: Sequence[Sequence[Prompt]]) -> Iterator[list[Task]]:
        """The prompts of each image, except "everything" prompts, as tasks that can be decoded at once."""
        return batches(prompts, self._prompt_batch, self._tokens_of)

    def logits(
        self, embeddings: Sequence[Embedding], images: ImageSide, tasks: Sequence[Task]
    ) -> tuple[Tensor, Tensor]:
        """Low-res logits (P, h, w) and predicted IoUs (P,) of the chosen masks, for tasks of one batch."""
        tokens = self._tokens(embeddings, tasks)
        masks = self._mask_inputs(embeddings, tasks)
        logits, scores = self._decoder(images, *tokens, self._mask_policy, masks)
        for _ in range(tasks[0].refine):
            logits, scores = self._decoder(images, *tokens, "single", self._rules.refined(logits))
        return logits, scores

    def every_candidate(
        self, embeddings: Sequence[Embedding], images: ImageSide, tasks: Sequence[Task]
    ) -> tuple[Tensor, Tensor]:
        """Low-res logits (P, C, h, w) and predicted IoUs (P, C) of all masks that the model gives for a
        prompt, for tasks of one batch without masks."""
        logits, scores = self._decoder.every_candidate(images, *self._tokens(embeddings, tasks))
        return logits, scores

    def packed_masks(
        self, embeddings: Sequence[Embedding], images: ImageSide, tasks: Sequence[Task]
    ) -> tuple[Tensor, list[Tensor]]:
        """Predicted IoUs (P,), and bits in parts of shape (some, H, W / 8): each has masks of one size, and
        no more of them than fit into UPSAMPLED_BYTES as logits."""
        logits, scores = self.logits(embeddings, images, tasks)
        parts = []
        for image, group in itertools.groupby(range(len(tasks)), lambda index: tasks[index].image):
            rows = list(group)
            size = embeddings[image].original_size
            for full, _ in self.upsampled(logits[rows[0] : rows[-1] + 1], size):
                parts.append(packed_bits(full > self.mask_threshold))
        return scores, parts

    def upsampled(self, logits: Tensor, size: tuple[int, int]) -> Iterator[tuple[Tensor, slice]]:
        """Low-res logits (K, h, w) at the size of the image, (some, H, W), and which of them: no more than
        fit into UPSAMPLED_BYTES at a time."""
        pixels = max(math.prod(size), self._rules.img_size**2)
        at_once = max(1, UPSAMPLED_BYTES // (4 * pixels))
        for start in range(0, len(logits), at_once):
            rows = slice(start, start + at_once)
            yield self._rules.full_size(logits[rows], size), rows

    def _tokens(
        self, embeddings: Sequence[Embedding], tasks: Sequence[Task]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The images' numbers (P,), places (P, T, 2) and kinds (P, T) of tasks of equally many tokens."""
        places = [self._rules.places(task.places, embeddings[task.image].original_size) for task in tasks]
        return (
            torch.tensor([task.image for task in tasks], device=self._device),
            torch.tensor(np.stack(places), dtype=torch.float32, device=self._device),
            torch.tensor(np.stack([task.kinds for task in tasks]), device=self._device),
        )

    def _mask_inputs(self, embeddings: Sequence[Embedding], tasks: Sequence[Task]) -> Tensor | None:
        """The masks of the prompts as the decoder takes them, (P, h, w); None if they have none."""
        if tasks[0].mask is None:
            return None
        masks = torch.tensor(
            np.stack([task.mask.logits for task in tasks if task.mask is not None]), device=self._device
        )
        sizes = [embeddings[task.image].original_size for task in tasks]
        return torch.stack(
            [self._rules.mask_input(mask, size) for mask, size in zip(masks, sizes, strict=True)]
        )
