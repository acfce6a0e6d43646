"""The Segment Anything Model in its three official sizes, by Kirillov et al., https://arxiv.org/abs/2304.02643."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from sampoll.config.settings import ModelSettings
from sampoll.core.errors import StorageTrouble
from sampoll.core.jobs import RgbImage
from sampoll.models.checkpoints import Checkpoint, check_official, checkpoint_file, home_of

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

    from sampoll.models.sam.segmenter import SamSegmenter
    from sampoll.models.shared.openvino import OpenVinoEncoder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SamModel:
    """The factory of one official size: a call makes a segmenter. Its attributes are those that
    `models.registry.Factory` describes."""

    checkpoint: Checkpoint
    """https://github.com/facebookresearch/segment-anything#model-checkpoints"""
    reply_type: ClassVar[str] = "sam"

    @property
    def name(self) -> str:
        return self.checkpoint.model

    def __call__(self, options: ModelSettings) -> "SamSegmenter":
        """ModelUnavailable if the checkpoint or the device cannot be used."""
        checkpoint = checkpoint_file(self.checkpoint, options)
        # Here, because torch takes seconds to import and the checks above should not.
        from sampoll.models.sam.segmenter import SamSegmenter
        from sampoll.models.sam.weights import load_sam
        from sampoll.models.shared.device import chosen_engine, chosen_precision, torch_device

        device = torch_device(options.device)
        precision = chosen_precision(options.precision, device)
        engine = chosen_engine(options.engine, device, precision)
        sam, sha256 = load_sam(self.name, checkpoint)
        if options.checkpoint is None:
            check_official(checkpoint, sha256, self.checkpoint)
        encoder = _openvino_encoder(sam, sha256, precision, options) if engine == "openvino" else None
        segmenter = SamSegmenter(
            self.name,
            sam,
            device,
            options.mask_policy,
            precision=precision,
            prompt_batch=options.prompt_batch_on(str(device)),
            encoder=encoder,
            checkpoint_sha256=sha256,
        )
        segmenter.check()
        if options.compile:
            keep_compiled_code(options)
            log.info("compiling the encoder", extra={"event": "compiling", "model": self.name})
            segmenter.compile_for(options.batch_size_on(str(device)))
        return segmenter

    def original(self, options: ModelSettings) -> "Sam":
        """segment_anything's own model on the device of the options."""
        from sampoll.models.sam.weights import load_sam
        from sampoll.models.shared.device import torch_device

        checkpoint = checkpoint_file(self.checkpoint, options)
        sam, _ = load_sam(self.name, checkpoint)
        return sam.to(torch_device(options.device))

    def quantize(
        self, options: ModelSettings, images: Sequence[Path], read: Callable[[Path], RgbImage]
    ) -> Path:
        """Makes the encoder that --precision int8 takes, calibrated on these images; returns where it is
        kept."""
        from sampoll.models.sam.encoder import exportable
        from sampoll.models.sam.quantize import imported_nncf, quantized
        from sampoll.models.sam.weights import load_sam
        from sampoll.models.shared.openvino import cached_model, quantized_place, save

        imported_nncf()
        segmenter = self(options.model_copy(update={"device": "cpu", "engine": "torch", "precision": "bf16"}))
        cache = openvino_cache(options)
        sam, sha256 = load_sam(self.name, checkpoint_file(self.checkpoint, options))
        graph = cached_model(partial(exportable, sam.image_encoder), sha256, cache)
        model = quantized(graph, images, lambda path: segmenter.preprocessed(read(path))[None].numpy())
        place = quantized_place(sha256, cache)
        try:
            save(model, place, sha256, replaces=True)
        except (OSError, RuntimeError) as error:
            raise StorageTrouble(f"cannot keep the int8 encoder in {place}: {error}") from error
        return place


_AT = "https://dl.fbaipublicfiles.com/segment_anything"
vit_b = SamModel(
    Checkpoint(
        "vit_b",
        "sam_vit_b_01ec64.pth",
        f"{_AT}/sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    )
)
vit_l = SamModel(
    Checkpoint(
        "vit_l",
        "sam_vit_l_0b3195.pth",
        f"{_AT}/sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    )
)
vit_h = SamModel(
    Checkpoint(
        "vit_h",
        "sam_vit_h_4b8939.pth",
        f"{_AT}/sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    )
)


def _openvino_encoder(
    sam: "Sam", checkpoint_sha256: str, precision: str, options: ModelSettings
) -> "OpenVinoEncoder":
    """The encoder from the user's cache: converted at first use; in int8, by `sampoll models quantize`."""
    from sampoll.models.sam.encoder import exportable
    from sampoll.models.shared.openvino import OpenVinoEncoder, cached_model, quantized_model

    cache, size = openvino_cache(options), sam.image_encoder.img_size
    if precision == "int8":
        model, sha256 = quantized_model(checkpoint_sha256, cache)
        return OpenVinoEncoder(model, size, precision, sha256)
    model = cached_model(partial(exportable, sam.image_encoder), checkpoint_sha256, cache)
    return OpenVinoEncoder(model, size, precision)


def keep_compiled_code(options: ModelSettings) -> None:
    """Makes torch keep what it compiles beside the weights. Its own choice is a directory with a known name
    among the temporary files: another user could make it first, and put code there."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.fspath(home_of(options.home) / "compiled"))


def openvino_cache(options: ModelSettings) -> Path:
    """Where converted encoders are kept."""
    return home_of(options.home) / "openvino"
