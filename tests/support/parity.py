"""Our answers to prompts of all kinds, compared with those of a model's authors."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from sampoll.core.jobs import Box, LowResMask, Point, Prompt, RgbImage
from sampoll.core.results import BoolMask
from sampoll.models.shared.mask_choice import MaskPolicy
from sampoll.models.shared.network import Network
from sampoll.models.shared.segmenter import PromptableSegmenter
from support.images import image_of
from support.tiny import relative_error

Answer: TypeAlias = tuple[Tensor, float, BoolMask]
"""Low-res logits (h, w), the predicted IoU, and the pixels."""

CPU = torch.device("cpu")
IMAGE = image_of(90, 120)
POINT, BACKGROUND, BOX = Point(40, 31, 1), Point(7.5, 8.25, 0), Box(9, 8, 50.5, 70)
MASK = LowResMask(b"", np.random.default_rng(3).normal(size=(256, 256)).astype(np.float32) * 8)
PROMPTS: Mapping[str, Prompt] = {
    "point": Prompt(points=(POINT,)),
    "points": Prompt(points=(POINT, BACKGROUND)),
    "box": Prompt(box=BOX),
    "points and box": Prompt(points=(POINT, BACKGROUND), box=BOX),
    "mask": Prompt(mask=MASK),
    "mask and box": Prompt(mask=MASK, box=BOX),
    "refined": Prompt(points=(POINT,), refine=2),
    "refined mask": Prompt(mask=MASK, box=BOX, refine=1),
}


class Errors(NamedTuple):
    """The largest ones over several prompts."""

    logits: float  # relative
    scores: float
    pixels: float  # the share that differs


def errors(network: Network, policy: MaskPolicy, expected: Mapping[str, Answer]) -> Errors:
    """Of our answers to the prompts of `expected`, by their names."""
    segmenter = PromptableSegmenter("ours", network, CPU, policy)
    [embedding] = segmenter.embed([IMAGE])
    found = []
    for name, (logits, score, pixels) in expected.items():
        our_logits, our_score = segmenter.low_res_logits(embedding, PROMPTS[name])
        [[[mask]]] = segmenter.decode([(embedding, [PROMPTS[name]])])
        differing = float((mask.pixels() != pixels).mean())
        found.append(Errors(relative_error(our_logits, logits), abs(float(our_score) - score), differing))
    return Errors(*(max(one) for one in zip(*found, strict=True)))


def assert_equal(network: Network, policy: MaskPolicy, expected: Mapping[str, Answer]) -> None:
    """Our answers are those of the authors, up to rounding in float32."""
    found = errors(network, policy, expected)
    assert found.logits < 1e-5
    assert found.scores < 1e-5
    assert found.pixels < 1e-3


def answers(
    predicted: Callable[[RgbImage, Prompt], Answer], names: Iterable[str] = PROMPTS
) -> dict[str, Answer]:
    """What the authors' code answers to these of PROMPTS."""
    return {name: predicted(IMAGE, PROMPTS[name]) for name in names}
