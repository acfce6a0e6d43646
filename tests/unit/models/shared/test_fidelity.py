"""What a variant changes is measured against the original; the limits hold on the real code paths."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.images import image_of
from support.tiny import tiny_sam, with_positions

from sampoll.core.jobs import Prompt, RgbImage
from sampoll.core.results import ModelInfo
from sampoll.models.sam.network import sam_network
from sampoll.models.sam.original import OriginalSam
from sampoll.models.shared import fidelity
from sampoll.models.shared.fidelity import DEFAULT, EXACT, GATES, Fidelity, compare, grid_of_prompts, way_of
from sampoll.models.shared.openvino import OpenVinoEncoder, converted
from sampoll.models.shared.segmenter import PromptableSegmenter
from sampoll.models.shared.vit import exportable

CPU = torch.device("cpu")
IMAGES = [image_of(40, 57), image_of(64, 64, seed=1), image_of(90, 33, seed=2)]


def variant(engine: str, precision: str) -> PromptableSegmenter:
    sam = with_positions(tiny_sam())
    encoder = None
    if engine == "openvino":
        encoder = OpenVinoEncoder(converted(exportable(copy.deepcopy(sam).image_encoder)), 64, precision)
    return PromptableSegmenter("tiny", sam_network(sam), CPU, precision=precision, encoder=encoder)


@pytest.mark.parametrize(
    ("engine", "precision"),
    [("torch", "fp32"), ("torch", "bf16"), ("torch", "fp16"), ("openvino", "fp32"), ("openvino", "bf16")],
)
def test_every_engine_and_precision_keeps_its_limits(engine: str, precision: str) -> None:
    seconds, found = compare(
        OriginalSam(with_positions(tiny_sam())), {"it": variant(engine, precision)}, IMAGES
    )

    assert len(seconds) == len(found["it"].seconds) == len(IMAGES)
    assert len(found["it"].ious) == 14 * len(IMAGES)
    # Masks of random weights hang on noise: their limits are for trained ones.
    gate = replace(GATES[precision], iou=0.9, flips=0.1)
    assert found["it"].broken(gate) == []
    assert found["it"].embedding_error <= gate.logits


def test_other_weights_break_every_limit() -> None:
    """Otherwise the test above would not see anything."""
    other = PromptableSegmenter("tiny", sam_network(with_positions(tiny_sam(seed=3))), CPU)
    _, found = compare(OriginalSam(with_positions(tiny_sam())), {"it": other}, IMAGES)
    assert found["it"].broken(DEFAULT) == ["logits", "IoU", "flips"]


@dataclass(frozen=True)
class Embedded:
    levels: tuple[torch.Tensor, ...]


class Answering:
    """Embeds every image to `levels`, and answers every prompt with masks of these scores."""

    info = ModelInfo("answers", precision="fp32", engine="torch")

    def __init__(self, levels: Sequence[float], scores: Sequence[float]) -> None:
        self._levels = tuple(torch.full((2, 3), level) for level in levels)
        self._scores = torch.tensor(scores)

    def embed(self, images: Sequence[RgbImage]) -> list[Embedded]:
        return [Embedded(self._levels) for _ in images]

    def candidates(
        self, embedding: Embedded, prompt: Prompt
    ) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.bool_]]:
        masks = np.ones((len(self._scores), 4, 5), np.bool_)
        return torch.ones(len(self._scores), 2, 2), self._scores, masks


def test_of_several_levels_the_one_that_is_furthest_off_counts() -> None:
    original, other = Answering([1.0, 1.0, 2.0], [0.5]), Answering([1.0, 1.5, 2.0], [0.5])
    _, found = compare(original, {"it": other}, IMAGES[:1])
    assert found["it"].embedding_error == pytest.approx(0.5)


def test_a_model_with_one_mask_a_prompt_never_chooses_another_one() -> None:
    _, found = compare(Answering([1.0], [0.5]), {"it": Answering([1.0], [0.1])}, IMAGES)
    assert found["it"].flipped == 0
    assert found["it"].broken(EXACT) == []


def test_another_choice_of_several_masks_is_a_flip() -> None:
    _, found = compare(Answering([1.0], [0.5, 0.4]), {"it": Answering([1.0], [0.4, 0.5])}, IMAGES)
    assert found["it"].broken(EXACT) == ["flips"]


def test_own_code_in_float32_is_the_original_where_the_authors_have_no_package() -> None:
    original, same, faster = variant("torch", "fp32"), variant("torch", "fp32"), variant("torch", "bf16")
    _, found = compare(original, {"same": same, "faster": faster}, IMAGES[:1])
    assert way_of(original) == "torch, fp32"
    assert (found["same"].embedding_error, found["same"].mean_iou) == (0, 1)
    assert 0 < found["faster"].embedding_error < 2e-2


def test_an_exceeded_limit_is_named() -> None:
    found = Fidelity([1.0, 3.0, 2.0], [0.1], [1e-5, 3e-5], [1.0, 0.9998], [False] * 999 + [True])
    assert (found.median_seconds, found.embedding_error) == (2.0, 0.1)
    assert found.logits_error == pytest.approx(2e-5)
    assert found.mean_iou == pytest.approx(0.9999)
    assert found.flipped == pytest.approx(0.001)
    assert found.broken(replace(EXACT, iou=0.99985)) == []
    found.flips.append(True)
    found.ious.append(0.5)
    assert found.broken(EXACT) == ["IoU", "flips"]


def test_prompts_lie_inside_the_image_wherever_it_is_cut() -> None:
    for prompt in grid_of_prompts(image_of(7, 50)):
        for point in prompt.points:
            assert 0 < point.x < 50
            assert 0 < point.y < 7
        assert prompt.box is None or (prompt.box.x1 <= 50 and prompt.box.y1 <= 7)


def test_two_empty_masks_agree() -> None:
    nothing = np.zeros((3, 3), np.bool_)
    assert fidelity._iou(nothing, nothing) == 1.0
    assert fidelity._iou(nothing, ~nothing) == 0.0
