"""A promptable model that OpenVINO runs as a whole, as a Segmenter. Imports torch for "everything" only."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sampoll.core.errors import ModelUnavailable, OutOfMemory
from sampoll.core.jobs import RgbImage
from sampoll.core.results import ModelInfo
from sampoll.models.shared.arrays import NumpyArrays
from sampoll.models.shared.base_segmenter import BaseSegmenter, Weights, one_call
from sampoll.models.shared.conventions import Conventions
from sampoll.models.shared.device import CPU
from sampoll.models.shared.embedding import Embedding
from sampoll.models.shared.mask_choice import MaskPolicy
from sampoll.models.shared.mask_making import MaskMaker
from sampoll.models.shared.openvino_decoder import OpenVinoDecoder
from sampoll.models.shared.openvino_graph import ENGINE, CompiledGraph


class OpenVinoSegmenter(BaseSegmenter):
    """Segments with an encoder and a decoder that were converted from one checkpoint."""

    def __init__(
        self,
        name: str,
        encoder: CompiledGraph,
        decoder: OpenVinoDecoder,
        conventions: Conventions,
        mask_policy: MaskPolicy = "best",
        *,
        prompt_batch: int = 1,
        checkpoint_sha256: str,
        encoder_sha256: str | None = None,
    ) -> None:
        """At most `prompt_batch` prompts are decoded at once. `encoder_sha256` is the digest of an encoder
        that is not computed from the checkpoint alone."""
        self._encoder = encoder
        self._rules = conventions.rules(encoder.input_shape[-1])
        super().__init__(
            ModelInfo(name, CPU, checkpoint_sha256, encoder.precision, ENGINE, encoder_sha256),
            Weights(
                checkpoint_sha256, conventions.preprocessing, [shape[1:] for shape in encoder.output_shapes]
            ),
            conventions.everything,
            MaskMaker(
                decoder,
                self._rules,
                NumpyArrays(),
                conventions.tokens,
                conventions.mask_threshold,
                mask_policy,
                prompt_batch,
            ),
            _HostCalls(),
        )

    @one_call
    def embed(self, images: Sequence[RgbImage]) -> list[Embedding]:
        by_image = self._encoder.each([[self._rules.prepared(image)[None]] for image in images])
        return [
            Embedding(tuple(level[0] for level in levels), (image.shape[0], image.shape[1]))
            for image, levels in zip(images, by_image, strict=True)  # levels: (1, C, h, w) each
        ]

    def compile_for(self, batch_size: int) -> None:
        """ModelUnavailable: that is for torch."""
        raise ModelUnavailable(f"--compile is for CUDA devices, and the model runs on {CPU}")


class _HostCalls:
    """Calls that are finished when they return."""

    @contextmanager
    def one(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if any(sign in str(error) for sign in ("bad_alloc", "Failed to allocate", "out of memory")):
                raise OutOfMemory("not enough memory for this image; it is tried again later") from error
            raise

    def wait(self) -> None:
        pass
