"""SAM behind the Segmenter seam: the answers of segment_anything's SamPredictor, from batches."""

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Concatenate, Literal, ParamSpec, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from sampoll.errors import ModelUnavailable, OutOfMemory
from sampoll.jobs import Prompt, RgbImage
from sampoll.results import Mask, ModelInfo
from sampoll.segmenters.sam.device import PRECISIONS
from sampoll.segmenters.sam.encoder import Encoder

P = ParamSpec("P")
T = TypeVar("T")

MaskPolicy: TypeAlias = Literal["best", "first", "single"]
"""Of the three masks that SAM gives for a prompt: the one with the highest predicted IoU, or the first;
or the one mask that it gives when asked for a single one."""


class ImageEncoder(Protocol):
    """What turns normalised images, (B, 3, 1024, 1024) on the model's device, into embeddings,
    (B, 256, 64, 64) in float32, having computed in `dtype`."""

    @property
    def engine(self) -> str: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def img_size(self) -> int: ...

    def __call__(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True, eq=False)
class SamEmbedding:
    """One image as the mask decoder sees it. Sizes are (H, W): the image's, and after resizing."""

    features: Tensor = field(repr=False)  # (256, 64, 64) for the official models
    original_size: tuple[int, int]
    input_size: tuple[int, int]


def _on_device(
    method: Callable[Concatenate["SamSegmenter", P], T],
) -> Callable[Concatenate["SamSegmenter", P], T]:
    """Runs a method on the calling thread's own stream; after it ran out of memory, the next one begins with
    all the room there is."""

    @functools.wraps(method)
    def wrapped(segmenter: "SamSegmenter", /, *arguments: P.args, **options: P.kwargs) -> T:
        with torch.inference_mode(), segmenter._stream():
            if segmenter._ran_out_of_memory:
                torch.cuda.empty_cache()
                segmenter._ran_out_of_memory = False
            try:
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
        encoder: ImageEncoder | None = None,
        checkpoint_sha256: str | None = None,
    ) -> None:
        """`precision`, one of PRECISIONS, is the encoder's; the decoder always computes in float32.

        `encoder` computes in that precision; without one it is the model's own, in torch.
        """
        # For the few convolutions; otherwise float32 would mean TensorFloat-32, with its 10 bits.
        torch.backends.cudnn.allow_tf32 = False
        with _translated_torch_errors():
            ours = encoder or Encoder(sam.image_encoder, PRECISIONS[precision]).to(device).eval()
            self._encoder: ImageEncoder = ours
            self._sam = sam.to(device).eval()
        self._device = device
        self._mask_policy = mask_policy
        self._streams = threading.local()
        self._ran_out_of_memory = False
        self._resize = ResizeLongestSide(sam.image_encoder.img_size)
        self._info = ModelInfo(name, str(device), checkpoint_sha256, precision, self._encoder.engine)

    @property
    def info(self) -> ModelInfo:
        return self._info

    @_on_device
    def embed(self, images: Sequence[RgbImage]) -> list[SamEmbedding]:
        with _translated_torch_errors():
            resize = self._resized if self._encoder.dtype == torch.float32 else self._resized_by_torch
            resized = [resize(image) for image in images]  # (3, h, w) each
            batch = torch.stack([self._sam.preprocess(image) for image in resized])  # (B, 3, 1024, 1024)
            features = self._encoder(batch)  # (B, 256, 64, 64)
            return [
                SamEmbedding(f, (image.shape[0], image.shape[1]), (r.shape[1], r.shape[2]))
                for f, image, r in zip(features, images, resized, strict=True)
            ]

    @_on_device
    def decode(self, work: Sequence[tuple[SamEmbedding, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        with _translated_torch_errors():
            on_device = [[self._pixels(embedding, p) for p in prompts] for embedding, prompts in work]
            # Everything is under way before the first of it is waited for.
            on_host = [
                [(_to_host(pixels), _to_host(score)) for pixels, score in image] for image in on_device
            ]
            if self._device.type == "cuda":
                torch.cuda.current_stream().synchronize()
            return [[[Mask.from_array(p.numpy(), float(s))] for p, s in image] for image in on_host]

    @torch.inference_mode()
    def low_res_logits(self, embedding: SamEmbedding, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """The chosen mask's logits before upsampling, (1, 1, 256, 256), and its predicted IoU, a scalar."""
        points, box = self._in_input_frame(embedding, prompt)
        sparse, dense = self._sam.prompt_encoder(points=points, boxes=box, masks=None)
        logits, scores = self._sam.mask_decoder(  # (1, C, 256, 256), (1, C); C is 3, or 1 for "single"
            image_embeddings=embedding.features.unsqueeze(0),
            image_pe=self._sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=self._mask_policy != "single",
        )
        # Chosen before upsampling, which would cost three times as much.
        chosen = int(scores[0].argmax()) if self._mask_policy == "best" else 0
        return logits[:, chosen : chosen + 1], scores[0, chosen]

    def check(self) -> None:
        """ModelUnavailable if the precision is too small for these weights: in float16, activations can grow
        out of range, and every image then gets the same embedding, or none."""
        if self._encoder.dtype != torch.float16:
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

    @torch.inference_mode()
    def compile_for(self, batch_size: int) -> None:
        """Makes batches of this size faster, once and for all; ModelUnavailable where that is impossible."""
        if not isinstance(self._encoder, Encoder) or self._device.type != "cuda":
            raise ModelUnavailable(f"--compile is for CUDA devices, and the model runs on {self._device}")
        with _translated_torch_errors():
            try:
                self._encoder.compile_for(batch_size)
            except torch._dynamo.exc.TorchDynamoException as error:
                raise ModelUnavailable(
                    f"the model cannot be compiled here: run without --compile ({error})"
                ) from error

    def _stream(self) -> AbstractContextManager[object]:
        """On CUDA, each thread has a stream of its own: while one batch waits for the host, the next one
        computes."""
        if self._device.type != "cuda":
            return nullcontext()
        if not hasattr(self._streams, "own"):
            self._streams.own = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            self._streams.own.wait_stream(torch.cuda.default_stream(self._device))  # the weights are there
        return torch.cuda.stream(self._streams.own)

    def _pixels(self, embedding: SamEmbedding, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """The mask, bool of shape (H, W), and its score, a scalar, both on the device."""
        logits, score = self.low_res_logits(embedding, prompt)
        full = self._sam.postprocess_masks(
            logits, embedding.input_size, embedding.original_size
        )  # (1, 1, H, W)
        return full[0, 0] > self._sam.mask_threshold, score

    def _resized(self, image: RgbImage) -> Tensor:
        resized = self._resize.apply_image(image)  # (h, w, 3), the longer side 1024
        return torch.as_tensor(resized, device=self._device).permute(2, 0, 1).contiguous()

    def _resized_by_torch(self, image: RgbImage) -> Tensor:
        """The same but for one level in one value of a hundred, several times faster: less than what lower
        precisions round away."""
        height, width = image.shape[:2]
        size = self._resize.get_preprocess_shape(height, width, self._resize.target_length)
        pixels = torch.from_numpy(np.require(image, requirements="W"))  # (H, W, 3)
        if self._device.type == "cuda":
            pixels = pixels.to(self._device).float()  # pinning each image first takes longer than it saves
        planes = pixels.permute(2, 0, 1)[None]
        resized = F.interpolate(planes, size, mode="bilinear", antialias=True)
        return resized[0].round() if resized.is_floating_point() else resized[0]

    def _in_input_frame(
        self, embedding: SamEmbedding, prompt: Prompt
    ) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None]:
        """Points (1, N, 2) with labels (1, N), and box (1, 4), in pixels of the resized image."""
        points = box = None
        if prompt.points:
            places = np.array([[p.x, p.y] for p in prompt.points])
            places = self._resize.apply_coords(places, embedding.original_size)
            points = (self._tensor(places)[None], self._tensor([p.label for p in prompt.points]).int()[None])
        if prompt.box:
            corners = np.array([prompt.box.x0, prompt.box.y0, prompt.box.x1, prompt.box.y1])
            box = self._tensor(self._resize.apply_boxes(corners, embedding.original_size))
        return points, box

    def _tensor(self, values: object) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float, device=self._device)


def _to_host(tensor: Tensor) -> Tensor:
    """A copy in host memory; of a CUDA tensor, once the stream is through."""
    return tensor if tensor.device.type == "cpu" else tensor.to("cpu", non_blocking=True)


@contextmanager
def _translated_torch_errors() -> Iterator[None]:
    """Out of memory is a job's trouble; any other CUDA error sticks to the process, which must end."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory("not enough device memory for this image; it is tried again later") from error
    except RuntimeError as error:
        # What torch says on the CPU; and what it passes on from CUDA and its libraries.
        if any(sign in str(error) for sign in ("can't allocate memory", "out of memory", "ALLOC_FAILED")):
            raise OutOfMemory("not enough memory for this image; it is tried again later") from error
        if "CUDA error" in str(error):
            raise ModelUnavailable(f"the CUDA device failed: {error}") from error
        raise
