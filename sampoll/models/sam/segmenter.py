"""SAM as a Segmenter: the same results as segment_anything's SamPredictor, computed in batches."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor, nn

from sampoll.core.errors import ModelUnavailable, OutOfMemory
from sampoll.core.jobs import Everything, Prompt, RgbImage
from sampoll.core.protocols import TakeMasks
from sampoll.core.results import Mask, ModelInfo
from sampoll.models.sam.decoder import Decoder, ImageSide
from sampoll.models.sam.encoder import Encoder
from sampoll.models.sam.weights import copy_weights, digest_of
from sampoll.models.shared.automatic_masks import (
    Candidates,
    chosen_masks,
    grid_prompts,
    is_good,
    stable_masks,
)
from sampoll.models.shared.device import PRECISIONS
from sampoll.models.shared.gathering import gathered
from sampoll.models.shared.packed_bits import packed_bits
from sampoll.models.shared.prompt_tokens import Task, batches
from sampoll.models.shared.streams import ThreadStreams

P = ParamSpec("P")
T = TypeVar("T")

MaskPolicy: TypeAlias = Literal["best", "first", "single"]
"""Of the three masks that SAM gives for a prompt: the one with the highest predicted IoU, or the first;
or the one mask that it gives when asked for a single one."""
CANDIDATES: dict[MaskPolicy, slice] = {"best": slice(1, 4), "first": slice(1, 2), "single": slice(0, 1)}
"""Of the decoder's four masks."""
PREPROCESSING = 1
"""Increased when the same image, weights and precision give another embedding than before."""
UPSAMPLED_BYTES = 2**28
"""Memory limit of logits upsampled to the size of the image, or to the model's if that is larger."""
QUEUED_BYTES = 2**28
"""Memory limit of the masks that a CUDA device makes before the first of them are waited for."""


class ImageEncoder(Protocol):
    """What turns normalised images, (B, 3, 1024, 1024) on the model's device, into embeddings,
    (B, 256, 64, 64) in float32."""

    @property
    def engine(self) -> str: ...

    @property
    def sha256(self) -> str | None:
        """The digest of weights that are not computed from the checkpoint alone; None if it has none."""

    @property
    def img_size(self) -> int: ...

    def __call__(self, images: Tensor) -> Tensor: ...


class _NoEncoder(nn.Module):
    """Replaces an encoder that is not used: Sam asks it for the size of its images."""

    def __init__(self, img_size: int) -> None:
        super().__init__()
        self.img_size = img_size


@dataclass(frozen=True, slots=True, eq=False)
class SamEmbedding:
    """One image as the mask decoder sees it. Sizes are (H, W): the image's, and after resizing."""

    features: Tensor = field(repr=False)  # (256, 64, 64) for the official models
    original_size: tuple[int, int]
    input_size: tuple[int, int]


def _on_device(
    method: Callable[Concatenate["SamSegmenter", P], T],
) -> Callable[Concatenate["SamSegmenter", P], T]:
    """Runs a method on the CUDA stream of the calling thread; what it returns is finished. After an
    OutOfMemory, the next call first frees torch's cached device memory."""

    @functools.wraps(method)
    def wrapped(segmenter: "SamSegmenter", /, *arguments: P.args, **options: P.kwargs) -> T:
        try:
            with torch.inference_mode(), _translated_torch_errors(), segmenter._streams.own():
                if segmenter._ran_out_of_memory:
                    torch.cuda.empty_cache()
                    segmenter._ran_out_of_memory = False
                return method(segmenter, *arguments, **options)
        except OutOfMemory:
            segmenter._ran_out_of_memory = True
            raise

    return wrapped


class SamSegmenter:
    """Segments with any `segment_anything` model, on `device`. Threads may call it at the same time."""

    def __init__(
        self,
        name: str,
        sam: Sam,
        device: torch.device,
        mask_policy: MaskPolicy = "best",
        *,
        precision: str = "fp32",
        prompt_batch: int = 1,
        encoder: ImageEncoder | None = None,
        checkpoint_sha256: str | None = None,
    ) -> None:
        """`precision` is the encoder's; the decoder always computes in float32.

        `encoder` computes in that precision; without one it is the model's own, in torch, and `precision` one
        of PRECISIONS. At most `prompt_batch` prompts are decoded at once.
        """
        # For the few convolutions; otherwise float32 would mean TensorFloat-32, with its 10 bits.
        torch.backends.cudnn.allow_tf32 = False
        self._weights_sha256 = checkpoint_sha256 or digest_of(sam)
        with _translated_torch_errors():
            if encoder is not None:
                sam.image_encoder = _NoEncoder(sam.image_encoder.img_size)
            ours = encoder or Encoder(sam.image_encoder, PRECISIONS[precision]).to(device).eval()
            self._encoder: ImageEncoder = ours
            self._sam = sam.to(device).eval()
            self._decoder = Decoder(self._sam).to(device).eval()
            if encoder is not None or precision != "fp32":
                # Frees the weights that were converted or are not used.
                copy_weights(self._sam)
                copy_weights(self._decoder)
        self._device = device
        self._mask_policy = mask_policy
        self._prompt_batch = prompt_batch
        prompts = sam.prompt_encoder
        self._embedding_shape: tuple[int, ...] = (prompts.embed_dim, *prompts.image_embedding_size)
        self._streams = ThreadStreams(device)
        self._ran_out_of_memory = False
        self._resize = ResizeLongestSide(sam.image_encoder.img_size)
        engine, encoder_sha256 = self._encoder.engine, self._encoder.sha256
        self._info = ModelInfo(name, str(device), checkpoint_sha256, precision, engine, encoder_sha256)

    @property
    def info(self) -> ModelInfo:
        return self._info

    @_on_device
    def embed(self, images: Sequence[RgbImage]) -> list[SamEmbedding]:
        resized = [self._resized(image) for image in images]  # (3, h, w) each
        batch = torch.stack([self._sam.preprocess(image) for image in resized])  # (B, 3, 1024, 1024)
        features = self._encoder(batch)  # (B, 256, 64, 64)
        return [
            # A part of the batch's tensor would keep all of it in memory.
            SamEmbedding(f.clone(), (image.shape[0], image.shape[1]), (r.shape[1], r.shape[2]))
            for f, image, r in zip(features, images, resized, strict=True)
        ]

    @_on_device
    def preprocessed(self, image: RgbImage) -> Tensor:
        """What the encoder gets for an image: (3, 1024, 1024), normalised and padded."""
        normalised: Tensor = self._sam.preprocess(self._resized(image))
        return normalised

    def decode(self, work: Sequence[tuple[SamEmbedding, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        return gathered(self.decode_into, work)

    @_on_device
    def decode_into(self, work: Sequence[tuple[SamEmbedding, Sequence[Prompt]]], take: TakeMasks) -> None:
        if not any(prompts for _, prompts in work):
            return
        self._decode_tasks(work, take)
        for image, (embedding, prompts) in enumerate(work):
            for number, prompt in enumerate(prompts):
                if prompt.everything is not None:
                    advance = functools.partial(take, image, number, ())
                    take(image, number, self._everything(embedding, prompt.everything, advance))

    def _decode_tasks(self, work: Sequence[tuple[SamEmbedding, Sequence[Prompt]]], take: TakeMasks) -> None:
        """Hands on the masks of all prompts, except those of "everything"."""
        embeddings = [embedding for embedding, _ in work]
        images = self._image_side(embeddings)
        queued: list[_Queued] = []
        for tasks in batches([prompts for _, prompts in work], self._prompt_batch):
            scores, packed = self._packed_masks(embeddings, images, tasks)
            queued.append(_Queued(tasks, _to_host(scores), [_to_host(bits) for bits in packed]))
            # A CUDA device goes on with further batches before the first result is waited for.
            is_enough = sum(batch.nbytes for batch in queued) > QUEUED_BYTES
            if is_enough or self._device.type == "cpu":
                self._hand_on(queued, embeddings, take)
        self._hand_on(queued, embeddings, take)

    def _hand_on(self, queued: list["_Queued"], embeddings: Sequence[SamEmbedding], take: TakeMasks) -> None:
        """Hands on the masks of all batches in `queued`, and empties it."""
        self._streams.wait()
        for batch in queued:
            rows = (bits for several in batch.packed for bits in several.numpy())
            for task, score, bits in zip(batch.tasks, batch.scores.tolist(), rows, strict=True):
                mask = Mask.from_packed(bits, embeddings[task.image].original_size, score)
                take(task.image, task.prompt, [mask])
        queued.clear()

    def _everything(
        self, embedding: SamEmbedding, everything: Everything, advance: Callable[[], None]
    ) -> list[Mask]:
        """The masks of all objects that a grid of points finds; calls `advance` for each part of the work."""
        size, threshold = embedding.original_size, self._sam.mask_threshold
        images = self._image_side([embedding])
        candidates = Candidates(everything, size)
        for tasks in batches([grid_prompts(everything, size)], self._prompt_batch):
            tokens = self._tokens([embedding], tasks)
            logits, scores = self._decoder.every_candidate(images, *tokens, CANDIDATES["best"])
            logits, scores = logits.flatten(0, 1), scores.flatten()  # (3 P, 256, 256), (3 P,)
            good = is_good(scores, everything)
            logits, scores = logits[good], scores[good]
            for some, rows in self._upsampled(logits, embedding):
                candidates.add(stable_masks(some, scores[rows], everything, threshold))
                advance()
        return chosen_masks(candidates.masks(), everything, advance)

    @property
    def embedding_key(self) -> str:
        # Not the engine: what engines of one precision compute is the same up to rounding.
        info, digests = self._info, [self._weights_sha256, self._info.encoder_sha256]
        weights = "-".join(sha256[:16] for sha256 in digests if sha256 is not None)
        return f"{info.name}-{weights}-{info.precision}-{PREPROCESSING}"

    @property
    def embedding_bytes(self) -> int:
        return 4 * math.prod(self._embedding_shape)

    def image_size(self, embedding: SamEmbedding) -> tuple[int, int]:
        return embedding.original_size

    @_on_device
    def packed(self, embedding: SamEmbedding) -> dict[str, NDArray[Any]]:
        sizes = np.array([embedding.original_size, embedding.input_size], np.int64)
        return {"features": embedding.features.cpu().numpy(), "sizes": sizes}

    @_on_device
    def unpacked(self, arrays: Mapping[str, NDArray[Any]]) -> SamEmbedding:
        features = arrays["features"]
        (height, width), (input_height, input_width) = arrays["sizes"].tolist()
        if features.shape != self._embedding_shape or features.dtype != np.float32:
            raise ValueError(
                f"must be float32 of {self._embedding_shape}, and is {features.dtype} of {features.shape}"
            )
        on_device = torch.from_numpy(features).to(self._device)
        return SamEmbedding(on_device, (height, width), (input_height, input_width))

    @_on_device
    def low_res_logits(self, embedding: SamEmbedding, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """The chosen mask's logits before upsampling, (256, 256), and its predicted IoU, a scalar."""
        [[task]] = batches([[prompt]], 1)
        images = self._image_side([embedding])
        logits, scores = self._logits([embedding], images, [task], CANDIDATES[self._mask_policy])
        return logits[0], scores[0]

    @_on_device
    def candidates(self, embedding: SamEmbedding, prompt: Prompt) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
        """All three masks that SAM gives for a prompt, in host memory: low-res logits (3, 256, 256),
        predicted IoUs (3,), and pixels (3, H, W)."""
        [tasks] = batches([[prompt]], 1)
        images = self._image_side([embedding])
        answers = self._decoder.every_candidate(images, *self._tokens([embedding], tasks), CANDIDATES["best"])
        logits, scores = (answer[0] for answer in answers)
        full = self._sam.postprocess_masks(logits[:, None], embedding.input_size, embedding.original_size)
        pixels = (full[:, 0] > self._sam.mask_threshold).cpu().numpy()
        return logits.cpu(), scores.cpu(), pixels

    def _image_side(self, embeddings: Sequence[SamEmbedding]) -> ImageSide:
        return self._decoder.image_side([embedding.features for embedding in embeddings])

    def _logits(
        self,
        embeddings: Sequence[SamEmbedding],
        images: ImageSide,
        tasks: Sequence[Task],
        candidates: slice,
    ) -> tuple[Tensor, Tensor]:
        """Low-res logits (P, 256, 256) and predicted IoUs (P,) of the best of `candidates`, for tasks of one
        batch."""
        tokens = self._tokens(embeddings, tasks)
        logits, scores = self._decoder(images, *tokens, candidates, self._mask_inputs(tasks))
        for _ in range(tasks[0].refine):
            logits, scores = self._decoder(images, *tokens, CANDIDATES["single"], logits)
        return logits, scores

    def _tokens(
        self, embeddings: Sequence[SamEmbedding], tasks: Sequence[Task]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The images' numbers (P,), places (P, T, 2) and kinds (P, T) of tasks of equally many tokens."""
        places = [
            self._resize.apply_coords(task.places, embeddings[task.image].original_size) for task in tasks
        ]
        return (
            torch.tensor([task.image for task in tasks], device=self._device),
            torch.tensor(np.stack(places), dtype=torch.float32, device=self._device),
            torch.tensor(np.stack([task.kinds for task in tasks]), device=self._device),
        )

    def _mask_inputs(self, tasks: Sequence[Task]) -> Tensor | None:
        """The masks of the prompts as the decoder takes them, (P, 4 S, 4 S); None if they have none."""
        masks = [task.mask.logits for task in tasks if task.mask is not None]
        if not masks:
            return None
        logits = torch.tensor(np.stack(masks), device=self._device)
        size = self._sam.prompt_encoder.mask_input_size
        if logits.shape[1:] != size:
            logits = F.interpolate(logits[:, None], size, mode="bilinear", antialias=True)[:, 0]
        return logits

    def _packed_masks(
        self, embeddings: Sequence[SamEmbedding], images: ImageSide, tasks: Sequence[Task]
    ) -> tuple[Tensor, list[Tensor]]:
        """Predicted IoUs (P,), and bits in parts of shape (some, H, W / 8): each has masks of one size, and
        no more of them than fit into UPSAMPLED_BYTES as logits."""
        logits, scores = self._logits(embeddings, images, tasks, CANDIDATES[self._mask_policy])
        parts = []
        for image, group in itertools.groupby(range(len(tasks)), lambda index: tasks[index].image):
            rows = list(group)
            for full, _ in self._upsampled(logits[rows[0] : rows[-1] + 1], embeddings[image]):
                parts.append(packed_bits(full > self._sam.mask_threshold))
        return scores, parts

    def _upsampled(self, logits: Tensor, embedding: SamEmbedding) -> Iterator[tuple[Tensor, slice]]:
        """Low-res logits (K, 256, 256) at the size of the image, (some, H, W), and which of them: no more
        than fit into UPSAMPLED_BYTES at a time."""
        pixels = max(math.prod(embedding.original_size), self._encoder.img_size**2)
        at_once = max(1, UPSAMPLED_BYTES // (4 * pixels))
        for start in range(0, len(logits), at_once):
            rows = slice(start, start + at_once)
            full = self._sam.postprocess_masks(
                logits[rows, None], embedding.input_size, embedding.original_size
            )  # (some, 1, H, W)
            yield full[:, 0], rows

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
        first, second = (e.features for e in self.embed([dark, noise.astype(np.uint8)]))
        if not (first.isfinite().all() and second.isfinite().all()) or torch.allclose(first, second):
            raise ModelUnavailable(
                f"{self._info.name} cannot run in fp16 with these weights: use --precision bf16 or fp32"
            )

    @_on_device
    def compile_for(self, batch_size: int) -> None:
        """Makes batches of this size faster, once and for all; ModelUnavailable where that is impossible."""
        if not isinstance(self._encoder, Encoder) or self._device.type != "cuda":
            raise ModelUnavailable(f"--compile is for CUDA devices, and the model runs on {self._device}")
        try:
            self._encoder.compile_for(batch_size)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise ModelUnavailable(
                f"the model cannot be compiled here: run without --compile ({error})"
            ) from error

    def _resized(self, image: RgbImage) -> Tensor:
        """(3, h, w), the longer side 1024."""
        return (
            self._resized_by_pillow(image)
            if self._info.precision == "fp32"
            else self._resized_by_torch(image)
        )

    def _resized_by_pillow(self, image: RgbImage) -> Tensor:
        """As SamPredictor does it."""
        resized = self._resize.apply_image(image)  # (h, w, 3)
        return torch.as_tensor(resized, device=self._device).permute(2, 0, 1).contiguous()

    def _resized_by_torch(self, image: RgbImage) -> Tensor:
        """Several times faster than Pillow; one value in a hundred differs by one level, which is less than
        the rounding of the lower precisions."""
        height, width = image.shape[:2]
        size = self._resize.get_preprocess_shape(height, width, self._resize.target_length)
        pixels = torch.from_numpy(np.require(image, requirements="W"))  # (H, W, 3)
        if self._device.type == "cuda":
            pixels = pixels.to(self._device).float()  # pinning each image first takes longer than it saves
        planes = pixels.permute(2, 0, 1)[None]
        resized = F.interpolate(planes, size, mode="bilinear", antialias=True)
        return resized[0].round() if resized.is_floating_point() else resized[0]


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


@contextmanager
def _translated_torch_errors() -> Iterator[None]:
    """Out of memory fails the job only; after any other CUDA error the process is unusable and must end."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory("not enough device memory for this image; it is tried again later") from error
    except RuntimeError as error:
        # The messages of torch on the CPU, and those of CUDA and its libraries.
        if any(sign in str(error) for sign in ("can't allocate memory", "out of memory", "ALLOC_FAILED")):
            raise OutOfMemory("not enough memory for this image; it is tried again later") from error
        if "CUDA error" in str(error):
            raise ModelUnavailable(f"the CUDA device failed: {error}") from error
        raise
