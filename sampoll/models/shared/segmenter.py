"""Any promptable model as a Segmenter: images in batches, prompts of many images at once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sampoll.core.errors import ModelUnavailable
from sampoll.core.jobs import RgbImage
from sampoll.core.results import ModelInfo
from sampoll.models.shared.base_segmenter import BaseSegmenter, Weights, one_call
from sampoll.models.shared.device_calls import DeviceCalls, translated_torch_errors
from sampoll.models.shared.embedding import Embedding
from sampoll.models.shared.mask_choice import MaskPolicy
from sampoll.models.shared.mask_making import MaskMaker
from sampoll.models.shared.network import ImageEncoder, Network
from sampoll.models.shared.torch_arrays import TorchArrays
from sampoll.models.shared.torch_device import PRECISIONS
from sampoll.models.shared.weights import copy_weights, digest_of


class PromptableSegmenter(BaseSegmenter):
    """Segments with a network of any family in torch, on `device`."""

    _calls: DeviceCalls

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
            sha256 = checkpoint_sha256 or digest_of(nn.ModuleList(modules))
            for module in modules:
                module.to(device).eval().requires_grad_(False)
                if encoder is not None or precision != "fp32":
                    copy_weights(module)  # frees those that were converted or are not used
        self._device = device
        self._rules = network.rules
        masks = MaskMaker(
            network.decoder,
            network.rules,
            TorchArrays(device),
            network.tokens,
            network.mask_threshold,
            mask_policy,
            prompt_batch,
        )
        engine, encoder_sha256 = self._encoder.engine, self._encoder.sha256
        super().__init__(
            ModelInfo(name, str(device), checkpoint_sha256, precision, engine, encoder_sha256),
            Weights(sha256, network.preprocessing, network.levels),
            network.everything,
            masks,
            DeviceCalls(device),
        )

    @property
    def _computes_ahead(self) -> bool:
        return self._device.type != "cpu"

    @one_call
    def embed(self, images: Sequence[RgbImage]) -> list[Embedding]:
        levels = self._encoder(torch.stack([self._prepared(image) for image in images]))  # (B, ...) each
        return [
            # A part of the batch's tensor would keep all of it in memory.
            Embedding(tuple(level[number].clone() for level in levels), (image.shape[0], image.shape[1]))
            for number, image in enumerate(images)
        ]

    @one_call
    def preprocessed(self, image: RgbImage) -> Tensor:
        """What the encoder gets for an image: (3, S, S), normalised."""
        return self._prepared(image)

    def _prepared(self, image: RgbImage) -> Tensor:
        return self._rules.prepared(image, self._device, exact=self._info.precision == "fp32")

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

    @one_call
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
