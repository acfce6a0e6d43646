"""Any promptable model as a Segmenter: images in batches, prompts of many images at once."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sampoll.core.errors import ModelUnavailable
from sampoll.core.jobs import Everything, Prompt, RgbImage
from sampoll.core.protocols import TakeMasks
from sampoll.core.results import Mask, ModelInfo
from sampoll.models.shared.automatic_masks import (
    Candidates,
    chosen_masks,
    grid_prompts,
    is_good,
    stable_masks,
)
from sampoll.models.shared.decoder import MaskPolicy
from sampoll.models.shared.device import PRECISIONS
from sampoll.models.shared.device_calls import DeviceCalls, translated_torch_errors
from sampoll.models.shared.gathering import gathered
from sampoll.models.shared.mask_making import MaskMaker
from sampoll.models.shared.network import Embedding, ImageEncoder, Network
from sampoll.models.shared.prompt_tokens import Task
from sampoll.models.shared.weights import copy_weights, digest_of

P = ParamSpec("P")
T = TypeVar("T")

QUEUED_BYTES = 2**28
"""Memory limit of the masks that a CUDA device makes before the first of them are waited for."""


def _on_device(
    method: Callable[Concatenate["PromptableSegmenter", P], T],
) -> Callable[Concatenate["PromptableSegmenter", P], T]:
    """Runs a method as one of the segmenter's DeviceCalls."""

    @functools.wraps(method)
    def wrapped(segmenter: "PromptableSegmenter", /, *arguments: P.args, **options: P.kwargs) -> T:
        with segmenter._calls.one():
            return method(segmenter, *arguments, **options)

    return wrapped


class PromptableSegmenter:
    """Segments with a network of any family, on `device`. Threads may call it at the same time."""

    def __init__(
        self,
        name: str,
        network: Network,
        device: torch.device,
        mask_policy: MaskPolicy = "best",
        *,
        precision: str = "fp32",
        prompt_batch: int = 1,
        encoder: ImageEncoder | None = None,
        checkpoint_sha256: str | None = None,
    ) -> None:
        """`precision` is the encoder's; the decoder always computes in float32.

        `encoder` computes in that precision; without one it is the network's own, in torch, and `precision`
        one of PRECISIONS. At most `prompt_batch` prompts are decoded at once.
        """
        # For the few convolutions; otherwise float32 would mean TensorFloat-32, with its 10 bits.
        torch.backends.cudnn.allow_tf32 = False
        with translated_torch_errors():
            self._encoder = encoder or network.encoder(PRECISIONS[precision])
            modules = [each for each in (self._encoder, network.decoder) if isinstance(each, nn.Module)]
            self._weights_sha256 = checkpoint_sha256 or digest_of(nn.ModuleList(modules))
            for module in modules:
                module.to(device).eval().requires_grad_(False)
                if encoder is not None or precision != "fp32":
                    copy_weights(module)  # frees those that were converted or are not used
        self._device = device
        self._levels, self._rules = network.levels, network.rules
        self._thresholds, self._preprocessing = network.everything, network.preprocessing
        self._masks = MaskMaker(network, device, mask_policy, prompt_batch)
        self._calls = DeviceCalls(device)
        engine, encoder_sha256 = self._encoder.engine, self._encoder.sha256
        self._info = ModelInfo(name, str(device), checkpoint_sha256, precision, engine, encoder_sha256)

    @property
    def info(self) -> ModelInfo:
        return self._info

    @_on_device
    def embed(self, images: Sequence[RgbImage]) -> list[Embedding]:
        levels = self._encoder(torch.stack([self._prepared(image) for image in images]))  # (B, ...) each
        return [
            # A part of the batch's tensor would keep all of it in memory.
            Embedding(tuple(level[number].clone() for level in levels), (image.shape[0], image.shape[1]))
            for number, image in enumerate(images)
        ]

    @_on_device
    def preprocessed(self, image: RgbImage) -> Tensor:
        """What the encoder gets for an image: (3, S, S), normalised."""
        return self._prepared(image)

    def _prepared(self, image: RgbImage) -> Tensor:
        return self._rules.prepared(image, self._device, exact=self._info.precision == "fp32")

    def decode(self, work: Sequence[tuple[Embedding, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        return gathered(self.decode_into, work)

    @_on_device
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
        queued: list[_Queued] = []
        for tasks in self._masks.batches([prompts for _, prompts in work]):
            scores, packed = self._masks.packed_masks(embeddings, images, tasks)
            queued.append(_Queued(tasks, _to_host(scores), [_to_host(bits) for bits in packed]))
            # A CUDA device goes on with further batches before the first result is waited for.
            is_enough = sum(batch.nbytes for batch in queued) > QUEUED_BYTES
            if is_enough or self._device.type == "cpu":
                self._hand_on(queued, embeddings, take)
        self._hand_on(queued, embeddings, take)

    def _hand_on(self, queued: list["_Queued"], embeddings: Sequence[Embedding], take: TakeMasks) -> None:
        """Hands on the masks of all batches in `queued`, and empties it."""
        self._calls.streams.wait()
        for batch in queued:
            rows = (bits for several in batch.packed for bits in several.numpy())
            for task, score, bits in zip(batch.tasks, batch.scores.tolist(), rows, strict=True):
                mask = Mask.from_packed(bits, embeddings[task.image].original_size, score)
                take(task.image, task.prompt, [mask])
        queued.clear()

    def _everything(
        self, embedding: Embedding, everything: Everything, advance: Callable[[], None]
    ) -> list[Mask]:
        """The masks of all objects that a grid of points finds; calls `advance` for each part of the work."""
        size, mask_threshold = embedding.original_size, self._masks.mask_threshold
        thresholds = self._thresholds.asked_by(everything)
        images = self._masks.image_side([embedding])
        candidates = Candidates(everything, size)
        for tasks in self._masks.batches([grid_prompts(everything, size)]):
            logits, scores = self._masks.every_candidate([embedding], images, tasks)
            logits, scores = logits.flatten(0, 1), scores.flatten()  # (C P, h, w), (C P,)
            good = is_good(scores, thresholds)
            logits, scores = logits[good], scores[good]
            for some, rows in self._masks.upsampled(logits, size):
                offset = everything.stability_score_offset
                candidates.add(stable_masks(some, scores[rows], thresholds, offset, mask_threshold))
                advance()
        return chosen_masks(candidates.masks(), everything, advance)

    @property
    def embedding_key(self) -> str:
        # Not the engine: what engines of one precision compute is the same up to rounding.
        info, digests = self._info, [self._weights_sha256, self._info.encoder_sha256]
        weights = "-".join(sha256[:16] for sha256 in digests if sha256 is not None)
        return f"{info.name}-{weights}-{info.precision}-{self._preprocessing}"

    @property
    def embedding_bytes(self) -> int:
        return 4 * sum(math.prod(shape) for shape in self._levels)

    def image_size(self, embedding: Embedding) -> tuple[int, int]:
        return embedding.original_size

    @_on_device
    def packed(self, embedding: Embedding) -> dict[str, NDArray[Any]]:
        levels = zip(self._level_names, embedding.levels, strict=True)
        arrays = {name: level.cpu().numpy() for name, level in levels}
        return {**arrays, "sizes": np.array([embedding.original_size], np.int64)}

    @_on_device
    def unpacked(self, arrays: Mapping[str, NDArray[Any]]) -> Embedding:
        levels = []
        for name, shape in zip(self._level_names, self._levels, strict=True):
            level = arrays[name]
            if level.shape != shape or level.dtype != np.float32:
                raise ValueError(f"{name} must be float32 of {shape}, and is {level.dtype} of {level.shape}")
            levels.append(torch.from_numpy(level).to(self._device))
        height, width = arrays["sizes"][0].tolist()  # more sizes are those of earlier versions
        return Embedding(tuple(levels), (height, width))

    @property
    def _level_names(self) -> list[str]:
        return ["features", *(f"features_{number}" for number in range(1, len(self._levels)))]

    @_on_device
    def low_res_logits(self, embedding: Embedding, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """The chosen mask's logits before upsampling, (h, w), and its predicted IoU, a scalar."""
        [tasks] = self._masks.batches([[prompt]])
        logits, scores = self._masks.logits([embedding], self._masks.image_side([embedding]), tasks)
        return logits[0], scores[0]

    @_on_device
    def candidates(self, embedding: Embedding, prompt: Prompt) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
        """All C masks that the model gives for a prompt, in host memory: low-res logits (C, h, w), predicted
        IoUs (C,), and pixels (C, H, W)."""
        [tasks] = self._masks.batches([[prompt]])
        images = self._masks.image_side([embedding])
        logits, scores = (answer[0] for answer in self._masks.every_candidate([embedding], images, tasks))
        full = self._rules.full_size(logits, embedding.original_size)
        pixels = (full > self._masks.mask_threshold).cpu().numpy()
        return logits.cpu(), scores.cpu(), pixels

    def check(self) -> None:
        """ModelUnavailable if the precision is too small for these weights: in float16, activations can grow
        out of range, and every image then gets the same embedding, or none."""
        if self._info.precision != "fp16":
            return
        size = self._encoder.img_size
        dark, noise = (
            np.zeros((size, size, 3), np.uint8),
            np.random.default_rng(0).integers(0, 256, (size, size, 3)),
        )
        both = self.embed([dark, noise.astype(np.uint8)])
        for first, second in zip(*(embedding.levels for embedding in both), strict=True):
            if not (first.isfinite().all() and second.isfinite().all()) or torch.allclose(first, second):
                raise ModelUnavailable(
                    f"{self._info.name} cannot run in fp16 with these weights: use --precision bf16 or fp32"
                )

    @_on_device
    def compile_for(self, batch_size: int) -> None:
        """Makes batches of this size faster, once and for all; ModelUnavailable where that is impossible."""
        if self._encoder.engine != "torch" or self._device.type != "cuda":
            raise ModelUnavailable(f"--compile is for CUDA devices, and the model runs on {self._device}")
        if (compile_for := getattr(self._encoder, "compile_for", None)) is None:
            raise ModelUnavailable(f"--compile does nothing for {self._info.name}: run without it")
        try:
            compile_for(batch_size)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise ModelUnavailable(
                f"the model cannot be compiled here: run without --compile ({error})"
            ) from error


@dataclass(frozen=True, slots=True, eq=False)
class _Queued:
    """One batch of prompts with its results in host memory: predicted IoUs (P,), and bits in parts."""

    tasks: Sequence[Task]
    scores: Tensor
    packed: Sequence[Tensor]

    @property
    def nbytes(self) -> int:
        return sum(bits.nbytes for bits in self.packed)


def _to_host(tensor: Tensor) -> Tensor:
    """A copy in host memory; that of a CUDA tensor is complete only after `ThreadStreams.wait`."""
    return tensor if tensor.device.type == "cpu" else tensor.to("cpu", non_blocking=True)
