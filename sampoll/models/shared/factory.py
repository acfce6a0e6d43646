"""The factory of one model of a family: a call makes a segmenter, in the same way for all of them.

Imports torch only when it is called: it takes seconds, and the attributes are needed without it.
"""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import ModelUnavailable, StorageTrouble
from sampoll.core.jobs import RgbImage
from sampoll.files.cores import usable_cores
from sampoll.models.checkpoints import Checkpoint, check_official, checkpoint_file, home_of
from sampoll.models.shared.detection import check_model
from sampoll.models.shared.device import CPU, chosen_engine, chosen_precision, device_named
from sampoll.models.shared.file_header import Shapes
from sampoll.models.shared.tensor_shapes import read_shapes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sampoll.models.shared.base_segmenter import BaseSegmenter
    from sampoll.models.shared.conventions import Conventions
    from sampoll.models.shared.fidelity import ComparableSegmenter
    from sampoll.models.shared.network import Network
    from sampoll.models.shared.openvino import OpenVinoEncoder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FamilyModel(ABC):
    """One model of a family, by the file of weights that its authors publish. Its attributes are those that
    `models.registry.Factory` describes."""

    checkpoint: Checkpoint
    family: ClassVar[str]
    embedding_bytes: ClassVar[int]
    """What the embedding of an image takes, in float32."""
    reply_type: ClassVar[str] = "sam"

    @property
    def name(self) -> str:
        return self.checkpoint.model

    @abstractmethod
    def holds(self, shapes: Shapes) -> bool:
        """Whether tensors of these names and shapes, all that a checkpoint has, are those of this model:
        its few marks are enough, because `build` demands each of its tensors."""

    def image_keys(self, name: str) -> bool:
        """Whether a tensor of its file is needed for images; the others, of video, are left out."""
        return True

    @abstractmethod
    def modules(self) -> "nn.Module":
        """New modules whose tensors have the names and shapes of what `build` takes."""

    @abstractmethod
    def build(self, weights: Mapping[str, "Tensor"]) -> "Network":
        """The network with these weights, all of them; ModelUnavailable, which says which one, if one is
        missing or surplus."""

    def conventions(self) -> "Conventions | None":
        """What it needs to run without torch; None if its decoder runs in torch only."""
        return None

    def __call__(self, options: ModelSettings) -> "BaseSegmenter":
        """ModelUnavailable if the checkpoint or the device cannot be used."""
        checkpoint = checkpoint_file(self.checkpoint, options)
        device = device_named(options.device)
        precision = chosen_precision(options.precision, device)
        engine = chosen_engine(options.engine, device, precision)
        conventions = self.conventions() if engine == "openvino" else None
        if conventions is not None:
            return self._by_openvino(checkpoint, conventions, precision, options)
        # Here, because torch takes seconds to import.
        from sampoll.models.shared.segmenter import PromptableSegmenter
        from sampoll.models.shared.torch_device import torch_device

        computing_device = torch_device(device)
        network, sha256 = self.network(checkpoint)
        self._check_official(checkpoint, sha256, options)
        encoder = _openvino_encoder(network, sha256, precision, options) if engine == "openvino" else None
        segmenter = PromptableSegmenter(
            self.name,
            network,
            computing_device,
            options.mask_policy,
            precision=precision,
            prompt_batch=options.prompt_batch_on(device),
            encoder=encoder,
            checkpoint_sha256=sha256,
        )
        segmenter.check()
        if options.compile:
            keep_compiled_code(options)
            log.info("compiling the encoder", extra={"event": "compiling", "model": self.name})
            segmenter.compile_for(options.batch_size_on(device))
        return segmenter

    def _by_openvino(
        self, checkpoint: Path, conventions: "Conventions", precision: str, options: ModelSettings
    ) -> "BaseSegmenter":
        """The model with encoder and decoder by OpenVINO: without torch, if both are converted already."""
        from sampoll.models.shared.converted_models import kept_models
        from sampoll.models.shared.known_digests import FOLDER, KnownDigests
        from sampoll.models.shared.openvino_decoder import OpenVinoDecoder
        from sampoll.models.shared.openvino_segmenter import OpenVinoSegmenter

        if options.compile:
            raise ModelUnavailable(f"--compile is for CUDA devices, and the model runs on {CPU}")
        check_model(self.name, checkpoint, read_shapes(checkpoint))
        sha256 = KnownDigests(home_of(options.home) / FOLDER).sha256_of(checkpoint)
        self._check_official(checkpoint, sha256, options)
        cache, streams = openvino_cache(options), options.streams_on(usable_cores())
        models = kept_models(precision, streams, sha256, cache)
        if models is None:
            from sampoll.models.shared.conversion import convert

            network, sha256 = self.network(checkpoint)
            self._check_official(checkpoint, sha256, options)
            models = convert(network, conventions, precision, streams, sha256, cache)
        return OpenVinoSegmenter(
            self.name,
            models.encoder,
            OpenVinoDecoder(models.decoder, conventions),
            conventions,
            options.mask_policy,
            prompt_batch=options.prompt_batch_on(CPU),
            checkpoint_sha256=sha256,
            encoder_sha256=models.encoder_sha256,
        )

    def _check_official(self, checkpoint: Path, sha256: str, options: ModelSettings) -> None:
        if options.checkpoint is None:
            check_official(checkpoint, sha256, self.checkpoint)

    def network(self, path: Path) -> "tuple[Network, str]":
        """The network with the weights of a checkpoint, and the SHA-256 of what was loaded; ModelUnavailable
        if it cannot be read, or holds something else."""
        from sampoll.models.shared.checkpoint_file import read_checkpoint

        check_model(self.name, path, read_shapes(path))
        weights, sha256 = read_checkpoint(path)
        try:
            network = self.build({key: weight for key, weight in weights.items() if self.image_keys(key)})
        except ModelUnavailable as error:
            raise ModelUnavailable(f"{path} does not fit {self.name}: {error}") from error
        return network, sha256

    def original(self, options: ModelSettings) -> "ComparableSegmenter":
        """What the engines and precisions of this model are compared with: its own code in float32, by torch.
        Families whose authors have a package override it."""
        return self(options.model_copy(update={"engine": "torch", "precision": "fp32", "compile": False}))

    def quantize(
        self, options: ModelSettings, images: Sequence[Path], read: Callable[[Path], RgbImage]
    ) -> Path:
        """Makes the encoder that --precision int8 takes, calibrated on these images; returns where it is
        kept."""
        from sampoll.models.shared.conversion import encoder_graph
        from sampoll.models.shared.converted_models import ENCODER, INT8, keep, place_of
        from sampoll.models.shared.quantize import imported_nncf, quantized_encoder

        imported_nncf()
        cache = openvino_cache(options)
        network, sha256 = self.network(checkpoint_file(self.checkpoint, options))
        graph = encoder_graph(network, "fp32", sha256, cache)
        model = quantized_encoder(graph, network.rules, images, read)
        place = place_of(INT8, sha256, cache)
        try:
            keep(INT8, {ENCODER: model}, sha256, cache, replaces=True)
        except (OSError, RuntimeError) as error:
            raise StorageTrouble(f"cannot keep the int8 encoder in {place}: {error}") from error
        return place


def _openvino_encoder(
    network: "Network", checkpoint_sha256: str, precision: str, options: ModelSettings
) -> "OpenVinoEncoder":
    """The encoder from the user's cache: converted at first use; in int8, by `sampoll models quantize`."""
    from sampoll.models.shared.conversion import encoder_graph
    from sampoll.models.shared.converted_models import ENCODER, quantized
    from sampoll.models.shared.openvino import OpenVinoEncoder

    cache, size = openvino_cache(options), network.rules.img_size
    streams = options.streams_on(usable_cores())
    if precision == "int8":
        kept = quantized(checkpoint_sha256, cache)
        return OpenVinoEncoder(kept.graphs[ENCODER], size, precision, kept.sha256, streams=streams)
    graph = encoder_graph(network, precision, checkpoint_sha256, cache)
    return OpenVinoEncoder(graph, size, precision, streams=streams)


def keep_compiled_code(options: ModelSettings) -> None:
    """Makes torch keep what it compiles beside the weights. Its own choice is a directory with a known name
    among the temporary files: another user could make it first, and put code there."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.fspath(home_of(options.home) / "compiled"))


def openvino_cache(options: ModelSettings) -> Path:
    """Where converted models are kept."""
    return home_of(options.home) / "openvino"
