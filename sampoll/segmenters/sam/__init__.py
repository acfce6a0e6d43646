"""The Segment Anything Model in its three official sizes, by Kirillov et al., https://arxiv.org/abs/2304.02643."""

import os
from typing import TYPE_CHECKING

from sampoll.errors import ModelUnavailable
from sampoll.settings import ModelSettings

if TYPE_CHECKING:
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
    from sampoll.segmenters.sam.device import chosen_precision, torch_device
    from sampoll.segmenters.sam.segmenter import SamSegmenter

    device = torch_device(options.device)
    sam = load_sam(name, options.checkpoint)
    segmenter = SamSegmenter(
        name,
        sam,
        device,
        options.mask_policy,
        precision=chosen_precision(options.precision, device),
        checkpoint_sha256=sha256_of(options.checkpoint),
    )
    segmenter.check()
    if options.compile:
        segmenter.compile_for(options.batch_size_on(str(device)))
    return segmenter
