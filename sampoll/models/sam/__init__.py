"""The Segment Anything Model in its three official sizes, by Kirillov et al., https://arxiv.org/abs/2304.02643."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sampoll.config.settings import ModelSettings
from sampoll.core.errors import ModelUnavailable
from sampoll.models.checkpoints import OFFICIAL, home_of, kept_at, sha256_of

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

    from sampoll.models.sam.segmenter import SamSegmenter
    from sampoll.models.shared.openvino import OpenVinoEncoder


def build_vit_b(options: ModelSettings) -> "SamSegmenter":
    return _build("vit_b", options)


def build_vit_l(options: ModelSettings) -> "SamSegmenter":
    return _build("vit_l", options)


def build_vit_h(options: ModelSettings) -> "SamSegmenter":
    return _build("vit_h", options)


def _build(name: str, options: ModelSettings) -> "SamSegmenter":
    """ModelUnavailable if the checkpoint or the device cannot be used."""
    checkpoint = checkpoint_of(name, options)
    # Here, because torch takes seconds to import and the checks above should not.
    from sampoll.models.sam.segmenter import SamSegmenter
    from sampoll.models.sam.weights import load_sam
    from sampoll.models.shared.device import chosen_engine, chosen_precision, torch_device

    device = torch_device(options.device)
    precision = chosen_precision(options.precision, device)
    engine = chosen_engine(options.engine, device, precision)
    sam, sha256 = load_sam(name, checkpoint), sha256_of(checkpoint)
    encoder = _openvino_encoder(sam, sha256, precision, options) if engine == "openvino" else None
    segmenter = SamSegmenter(
        name,
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
        segmenter.compile_for(options.batch_size_on(str(device)))
    return segmenter


def checkpoint_of(name: str, options: ModelSettings) -> Path:
    """The file of weights: the one that was named, or the official one, fetched if that was asked for."""
    if options.checkpoint is not None:
        if os.path.isfile(options.checkpoint):  # noqa: PTH113  False, too, where we may not look
            return options.checkpoint
        raise ModelUnavailable(
            f"no checkpoint at {options.checkpoint}: correct --checkpoint, or use --model grabcut, "
            "which needs none"
        )
    official = OFFICIAL[name]
    path = kept_at(official, options.home)
    if not os.path.isfile(path):  # noqa: PTH113
        if not options.pull:
            raise ModelUnavailable(
                f"{name} needs its weights: run `sampoll models pull {name}`, or add --pull, or give "
                "--checkpoint FILE; --model grabcut needs none"
            )
        from sampoll.models.download import download, wanted_of

        download(wanted_of(official, options.mirror), path, show_progress=sys.stderr.isatty())
    return path


def _openvino_encoder(
    sam: "Sam", checkpoint_sha256: str, precision: str, options: ModelSettings
) -> "OpenVinoEncoder":
    """From the user's cache, where it is put the first time; in int8, by `sampoll models quantize`."""
    from sampoll.models.sam.encoder import exportable
    from sampoll.models.shared.openvino import OpenVinoEncoder, cached_model, quantized_model

    if precision == "int8":
        model = quantized_model(checkpoint_sha256, openvino_cache(options))
    else:
        encoder = partial(exportable, sam.image_encoder)
        model = cached_model(encoder, checkpoint_sha256, openvino_cache(options))
    return OpenVinoEncoder(model, sam.image_encoder.img_size, precision)


def openvino_cache(options: ModelSettings) -> Path:
    """Where converted encoders are kept."""
    return home_of(options.home) / "openvino"
