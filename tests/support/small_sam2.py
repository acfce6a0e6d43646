"""SAM 2 and EdgeTAM with few, seeded weights: 128 x 128 input, 32 channels; and what is asked of them.

The golden files of `support.goldens_sam2` are what the authors' code makes of the same weights and prompts.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sampoll.core.jobs import Box, Point, Prompt, RgbImage
from sampoll.models.edgetam.repvit import RepVitBody, RepVitSizes
from sampoll.models.sam2.hiera import Hiera
from sampoll.models.sam2.sizes import HieraSizes
from sampoll.models.shared.network import Network
from sampoll.models.shared.sam2_network import Sam2, TrunkWeights, sam2_network
from sampoll.models.shared.weights import empty, filled
from support.seeded import seeded_weights

SIDE, CHANNELS = 128, 32
HIERA = {
    heads: HieraSizes(16, heads, (1, 2, 3, 2), global_blocks=(4,), windows=(4, 2, 6, 3), background=5)
    for heads in (1, 2)
}
"""Of one head and of two in the first stage. In the third one, windows do not fit the image."""
REPVIT = RepVitSizes((8, 16, 24, 32), (2, 2, 3, 2))

IMAGE_SIZE = (150, 210)
PROMPTS = {
    "point": Prompt(points=(Point(33.5, 71.25, 1),)),
    "points": Prompt(points=(Point(150, 20, 1), Point(100, 140, 0))),
    "box": Prompt(box=Box(20, 30, 120, 140)),
    "box and point": Prompt(points=(Point(80, 60, 1),), box=Box(5.5, 0, 200, 149.5)),
}
OFFICIAL_SIZE, OFFICIAL_PROMPT = (300, 500), "box and point"
"""Of the image, and what is asked of it, for models of official size."""


def small_sam2(heads: int = 1) -> Network:
    return _network(Hiera(HIERA[heads], SIDE))


def small_edgetam() -> Network:
    return _network(RepVitBody(REPVIT))


def golden_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Seeded weights, but some logits are so large that they are clamped, and residual
    paths do not grow."""
    weights = seeded_weights(tensors)
    for name, weight in weights.items():
        if ".output_hypernetworks_mlps." in name and ".layers.2." in name:
            weight *= 1.9 if "_mlps.0." in name else 16
        if name.endswith("bn.weight") and (".token_mixer." in name or ".conv2." in name):
            weight *= 0.3
    return weights


def golden_image(size: tuple[int, int] = IMAGE_SIZE) -> RgbImage:
    """Blocks of colour with noise, which resizing without antialiasing would keep."""
    height, width = size
    random = np.random.RandomState(7)
    blocks = random.randint(0, 200, (6, 7, 3))
    rows, columns = (np.arange(length) * count // length for length, count in ((height, 6), (width, 7)))
    noise = random.randint(0, 56, (height, width, 3))
    return np.asarray(blocks[rows[:, None], columns] + noise, np.uint8)


def golden_mask() -> NDArray[np.float32]:
    """Logits of a mask prompt as SAM 2's decoder takes it: (32, 32)."""
    values = np.random.RandomState(8).standard_normal((4, 4)) * 8
    return np.kron(values, np.ones((8, 8))).astype(np.float32)


def _network(trunk: TrunkWeights) -> Network:
    make = partial(Sam2, trunk, SIDE, CHANNELS)
    return sam2_network(filled(make, golden_weights(empty(make).state_dict())))
