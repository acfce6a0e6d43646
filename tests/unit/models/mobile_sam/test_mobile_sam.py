"""MobileSAM against the authors' code."""

import copy
import re
from functools import partial

import numpy as np
import pytest
import torch
from support import hq_authors
from support.goldens.mobile_sam import BOX, EVERY, GOLDEN, IMAGE, LABELS, POINTS
from support.images import image_of
from support.parity import CPU, answers, assert_equal, errors
from support.seeded import seeded_weights
from support.small_families import small_mobile_sam
from support.tiny import relative_error
from torch import Tensor

from sampoll.core.errors import ModelUnavailable
from sampoll.core.jobs import Box, Everything, Point, Prompt
from sampoll.models import sam
from sampoll.models.mobile_sam import mobile_sam
from sampoll.models.mobile_sam.network import mobile_sam_network, mobile_sam_of, new_mobile_sam
from sampoll.models.shared.mask_choice import CANDIDATES, MaskPolicy
from sampoll.models.shared.network import Network
from sampoll.models.shared.segmenter import PromptableSegmenter
from sampoll.models.shared.weights import empty, shapes_of

SMALL = small_mobile_sam()
THEIRS = hq_authors.small_mobile_sam(SMALL.state_dict())
POLICIES: tuple[MaskPolicy, ...] = ("best", "first", "single")


def network() -> Network:
    return mobile_sam_network(copy.deepcopy(SMALL))


@pytest.mark.parametrize("policy", POLICIES)
def test_masks_are_those_of_the_authors_code(policy: MaskPolicy) -> None:
    assert_equal(network(), policy, answers(partial(hq_authors.predicted, THEIRS, policy=policy)))


def test_a_mask_that_another_policy_chooses_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answers(partial(hq_authors.predicted, THEIRS, policy="best"), ["box"])
    monkeypatch.setitem(CANDIDATES, "best", slice(1, 2))

    assert errors(network(), "best", expected).logits > 1e-3


def test_everything_is_what_the_authors_generator_finds() -> None:
    everything = Everything(points_per_side=3, pred_iou_thresh=0, stability_score_thresh=0)
    expected = hq_authors.everything(THEIRS, image_of(40, 57), everything)

    segmenter = PromptableSegmenter("mobile_sam", network(), CPU, prompt_batch=7)
    [embedding] = segmenter.embed([image_of(40, 57)])
    [[masks]] = segmenter.decode([(embedding, [Prompt(everything=everything)])])

    assert len(masks) == len(expected) > 5
    assert [mask.score for mask in masks] == pytest.approx([e["predicted_iou"] for e in expected], abs=1e-5)
    for mask, other in zip(masks, expected, strict=True):
        assert (mask.pixels() != other["segmentation"]).mean() < 1e-3


# Files of official size


@pytest.fixture(scope="module")
def official() -> dict[str, Tensor]:
    """Seeded weights by their official names."""
    return seeded_weights(empty(new_mobile_sam).state_dict())


def test_a_file_is_known_by_its_names(official: dict[str, Tensor]) -> None:
    shapes = shapes_of(official)

    assert mobile_sam.holds(shapes)
    assert not any(model.holds(shapes) for model in (sam.vit_b, sam.vit_l, sam.vit_h))
    assert not mobile_sam.holds({})


def test_a_file_without_one_of_its_tensors_is_refused(official: dict[str, Tensor]) -> None:
    name = "image_encoder.layers.2.blocks.3.attn.attention_biases"
    others = {key: weight for key, weight in official.items() if key != name}

    with pytest.raises(ModelUnavailable, match=re.escape(f"it lacks {name}")):
        mobile_sam_of(others)


@pytest.mark.slow
def test_answers_of_the_official_size_are_those_that_the_authors_repository_gave(
    official: dict[str, Tensor],
) -> None:
    golden = {name: torch.from_numpy(values) for name, values in np.load(GOLDEN).items()}
    points = [Point(x, y, label) for (x, y), label in zip(POINTS, LABELS, strict=True)]
    prompts = {"points": Prompt(points=tuple(points)), "box": Prompt(box=Box(*BOX))}
    network = mobile_sam_network(mobile_sam_of(official))
    segmenter = PromptableSegmenter("mobile_sam", network, CPU, "single")

    [embedding] = segmenter.embed([IMAGE])

    assert relative_error(embedding.levels[0][::EVERY, ::EVERY, ::EVERY], golden["features"]) < 1e-5
    for name, prompt in prompts.items():
        three, three_scores, _ = segmenter.candidates(embedding, prompt)
        single, single_score = segmenter.low_res_logits(embedding, prompt)
        assert relative_error(three[:, ::EVERY, ::EVERY], golden[f"{name}_three_logits"]) < 1e-5
        assert relative_error(single[::EVERY, ::EVERY], golden[f"{name}_single_logits"][0]) < 1e-5
        assert torch.allclose(three_scores, golden[f"{name}_three_scores"], rtol=0, atol=1e-5)
        assert float(single_score) == pytest.approx(float(golden[f"{name}_single_scores"]), abs=1e-5)
