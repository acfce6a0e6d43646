"""The Segment Anything Model in its three official sizes, by Kirillov et al., https://arxiv.org/abs/2304.02643."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from sampoll.errors import ModelUnavailable
from sampoll.settings import ModelSettings

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

    from sampoll.segmenters.sam.openvino_encoder import OpenVinoEncoder
    from sampoll.segmenters.sam.segmenter import SamSegmenter


def build_vit_b(options: ModelSettings) -> "SamSegmenter":
    return _build("vit_b", options)


def build_vit_l(options: ModelSettings) -> "SamSegmenter":
    return _build("vit_l", options)


def build_vit_h(options: ModelSettings) -> "SamSegmenter":
    return _build("vit_h", options)


def _build(name: str, options: ModelSettings) -> "SamSegmenter":
    """ModelUnavailable if the checkpoint or the device cannot be used."""
    if options.checkpoint is None:
        raise ModelUnavailable(
            f"{name} needs its weights: give --checkpoint FILE (the official .pth, or .safetensors), "
            "or use --model grabcut, which needs none"
        )
    if not os.path.isfile(options.checkpoint):  # noqa: PTH113  False, too, where we may not look
        raise ModelUnavailable(
            f"no checkpoint at {options.checkpoint}: correct --checkpoint, or use --model grabcut, "
            "which needs none"
        )
    # Here, because torch takes seconds to import and the checks above should not.
    from sampoll.segmenters.sam.checkpoint import load_sam, sha256_of
    from sampoll.segmenters.sam.device import chosen_engine, chosen_precision, torch_device
    from sampoll.segmenters.sam.segmenter import SamSegmenter

    device = torch_device(options.device)
    precision = chosen_precision(options.precision, device)
    engine = chosen_engine(options.engine, device, precision)
    sam, sha256 = load_sam(name, options.checkpoint), sha256_of(options.checkpoint)
    encoder = _openvino_encoder(sam, sha256, precision) if engine == "openvino" else None
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


def _openvino_encoder(sam: "Sam", checkpoint_sha256: str, precision: str) -> "OpenVinoEncoder":
    """From the user's cache, where it is put the first time; in int8, by `sampoll models quantize`."""
    from sampoll.segmenters.sam.openvino_encoder import OpenVinoEncoder, cached_model, quantized_model

    if precision == "int8":
        model = quantized_model(checkpoint_sha256, openvino_cache())
    else:
        model = cached_model(sam.image_encoder, checkpoint_sha256, openvino_cache())
    return OpenVinoEncoder(model, sam.image_encoder.img_size, precision)


def openvino_cache() -> Path:
    """Where converted encoders are kept."""
    return platformdirs.user_cache_path("sampoll") / "openvino"
