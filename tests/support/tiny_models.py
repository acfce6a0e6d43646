"""Models with weights of their own for `--model support.tiny_models:NAME`."""

import torch

from sampoll.config.settings.model import ModelSettings
from sampoll.models.sam.network import sam_network
from sampoll.models.shared.segmenter import PromptableSegmenter
from support.tiny import tiny_sam


def sam(options: ModelSettings) -> PromptableSegmenter:
    """SAM of 64 x 64 pixels, with seeded weights."""
    return PromptableSegmenter("tiny", sam_network(tiny_sam()), torch.device("cpu"), options.mask_policy)
