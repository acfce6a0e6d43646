"""SAM-HQ and Light HQ-SAM against the authors' code."""

import copy
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from support import hq_authors
from support.images import image_of
from support.parity import CPU, PROMPTS, Answer, answers, assert_equal, errors
from support.seeded import seeded_weights
from support.small_families import small_sam_hq
from support.tiny import relative_error
from torch import Tensor

from sampoll.core.errors import ModelUnavailable
from sampoll.core.jobs import Everything, Prompt
from sampoll.models import sam, sam_hq
from sampoll.models.mobile_sam import mobile_sam
from sampoll.models.sam_hq import decoder as hq_decoder
from sampoll.models.sam_hq.decoder import HqDecoder
from sampoll.models.sam_hq.encoder import HqEncoder, early_stage
from sampoll.models.sam_hq.network import new_sam_hq, sam_hq_network, sam_hq_of
from sampoll.models.shared.decoder import as_planes
from sampoll.models.shared.mask_choice import CANDIDATES, MaskPolicy
from sampoll.models.shared.network import Network
from sampoll.models.shared.openvino import OpenVinoEncoder, converted
from sampoll.models.shared.segmenter import PromptableSegmenter
from sampoll.models.shared.weights import empty, shapes_of

POLICIES: tuple[MaskPolicy, ...] = ("best", "first", "single")
IMAGES = torch.from_numpy(np.random.default_rng(2).normal(size=(2, 3, 128, 128)).astype(np.float32))


class Case:
    """A small model by its encoder, "vit" or "tiny_vit", and what the authors' code answers with its
    weights."""

    def __init__(self, encoder: str) -> None:
        self.encoder = encoder
        self.sam = small_sam_hq(encoder)
        self.theirs = hq_authors.small_sam_hq(encoder, self.sam.state_dict())
        self.answers: dict[MaskPolicy, dict[str, Answer]] = {
            policy: answers(partial(hq_authors.predicted, self.theirs, policy=policy)) for policy in POLICIES
        }

    def network(self) -> Network:
        return sam_hq_network(copy.deepcopy(self.sam))


@pytest.fixture(scope="module")
def with_vit() -> Case:
    return Case("vit")


@pytest.fixture(scope="module", params=["vit", "tiny_vit"])
def case(request: pytest.FixtureRequest, with_vit: Case) -> Case:
    return with_vit if request.param == "vit" else Case(request.param)


@pytest.mark.parametrize("policy", POLICIES)
def test_masks_are_those_of_the_authors_code(case: Case, policy: MaskPolicy) -> None:
    assert_equal(case.network(), policy, case.answers[policy])


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_embeddings_hold_what_the_authors_compute_from_the_image(case: Case, precision: torch.dtype) -> None:
    encoder: Any = case.network().encoder(precision)
    features, early = case.theirs.image_encoder(IMAGES)
    decoder = case.theirs.mask_decoder
    finer = decoder.embedding_encoder(features) + decoder.compress_vit_feat(early[0].permute(0, 3, 1, 2))

    levels = encoder(IMAGES)

    for ours, theirs in zip(levels, (features, finer), strict=True):
        assert ours.dtype == torch.float32
        assert ours.shape == theirs.shape
        assert relative_error(ours, theirs) < (1e-5 if precision == torch.float32 else 2e-2)


@torch.inference_mode()
def test_what_openvino_makes_of_the_encoder_is_the_same_function(with_vit: Case) -> None:
    """For the other encoder, the test of TinyViT says it."""
    encoder: Any = with_vit.network().encoder(torch.float32)
    expected = encoder.eval()(IMAGES)

    levels = OpenVinoEncoder(converted(encoder), 128, "fp32")(IMAGES)

    for ours, theirs in zip(levels, expected, strict=True):
        assert relative_error(ours, theirs) < 1e-4


def test_prompts_of_several_images_are_answered_as_if_each_were_alone(case: Case) -> None:
    segmenter = PromptableSegmenter("hq", case.network(), CPU, prompt_batch=3)
    prompts = list(PROMPTS.values())
    work = [(image_of(90, 120), prompts), (image_of(100, 61, 1), prompts[::-1])]

    together = segmenter.decode(
        list(zip(segmenter.embed([image for image, _ in work]), [own for _, own in work], strict=True))
    )

    for (image, own), masks in zip(work, together, strict=True):
        for prompt, [mask] in zip(own, masks, strict=True):
            [[[alone]]] = segmenter.decode([(segmenter.embed([image])[0], [prompt])])
            assert mask.score == pytest.approx(alone.score, abs=1e-5)
            assert (mask.pixels() != alone.pixels()).mean() < 1e-3


def test_everything_is_what_the_authors_generator_finds(case: Case) -> None:
    everything = Everything(points_per_side=3, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1)
    sam, theirs = copy.deepcopy(case.sam), copy.deepcopy(case.theirs)
    theirs.mask_threshold = sam.mask_threshold = 6  # only the highest of random logits are objects
    expected = hq_authors.everything(theirs, image_of(40, 57), everything)

    segmenter = PromptableSegmenter("hq", sam_hq_network(sam), CPU, prompt_batch=7)
    [embedding] = segmenter.embed([image_of(40, 57)])
    [[masks]] = segmenter.decode([(embedding, [Prompt(everything=everything)])])

    assert len(masks) == len(expected) == 9
    assert [mask.score for mask in masks] == pytest.approx([e["predicted_iou"] for e in expected], abs=1e-5)
    for mask, other in zip(masks, expected, strict=True):
        assert (mask.pixels() != other["segmentation"]).mean() < 1e-3


def test_a_prompt_has_one_candidate(case: Case) -> None:
    segmenter = PromptableSegmenter("hq", case.network(), CPU)
    [embedding] = segmenter.embed([image_of(90, 120)])

    logits, scores, pixels = segmenter.candidates(embedding, PROMPTS["box"])

    expected, score, mask = case.answers["best"]["box"]
    assert relative_error(logits[0], expected) < 1e-5
    assert scores.tolist() == pytest.approx([score], abs=1e-5)
    assert np.array_equal(pixels[0], mask)


# Each rule, broken


def early_tokens_of_the_next_block(network: Network, monkeypatch: pytest.MonkeyPatch) -> Network:
    original = HqEncoder.__init__

    def later(encoder: HqEncoder, *given: Any) -> None:
        original(encoder, *given)
        encoder.early += 1

    monkeypatch.setattr(HqEncoder, "__init__", later)
    return network


def hq_token_before_the_mask_tokens(network: Network, _: pytest.MonkeyPatch) -> Network:
    tokens = network.decoder.output_tokens
    tokens.data = tokens.data[[0, 5, 1, 2, 3, 4]]
    return network


def hq_weights_of_another_token(network: Network, monkeypatch: pytest.MonkeyPatch) -> Network:
    monkeypatch.setattr(hq_decoder, "HQ", 3)
    decoder = network.decoder
    mlps = decoder.hypernetworks
    mlps.weights = torch.nn.ParameterList(weight[:4] for weight in mlps.weights)
    mlps.biases = torch.nn.ParameterList(bias[:4] for bias in mlps.biases)
    return network


def sam_mask_alone(network: Network, monkeypatch: pytest.MonkeyPatch) -> Network:
    def nothing(pixels: Tensor, finer: Tensor, weights: Tensor) -> Tensor:
        return torch.zeros_like(pixels[:, 0])

    monkeypatch.setattr(network.decoder.refinement, "forward", nothing)
    return network


def hq_mask_alone(network: Network, monkeypatch: pytest.MonkeyPatch) -> Network:
    def without_masks(pixels: Tensor) -> Tensor:
        return as_planes(pixels) if pixels.shape[-1] > 1 else torch.zeros_like(as_planes(pixels))

    monkeypatch.setattr(hq_decoder, "as_planes", without_masks)
    return network


def candidates(policy: MaskPolicy, those: slice) -> Callable[[Network, pytest.MonkeyPatch], Network]:
    def change(network: Network, monkeypatch: pytest.MonkeyPatch) -> Network:
        monkeypatch.setitem(CANDIDATES, policy, those)
        return network

    return change


def finer_features_of_another_image(network: Network, monkeypatch: pytest.MonkeyPatch) -> Network:
    original = HqDecoder.image_side

    def other(decoder: HqDecoder, embeddings: Any) -> Any:
        side = original(decoder, embeddings)
        return side._replace(finer=(side.finer[0].flip(-1),))

    monkeypatch.setattr(HqDecoder, "image_side", other)
    return network


MUTANTS: Mapping[str, tuple[MaskPolicy, Callable[[Network, pytest.MonkeyPatch], Network]]] = {
    "early tokens of the next block": ("best", early_tokens_of_the_next_block),
    "the HQ token before those of the masks": ("best", hq_token_before_the_mask_tokens),
    "HQ weights of another token": ("best", hq_weights_of_another_token),
    "SAM's mask alone": ("best", sam_mask_alone),
    "the HQ mask alone": ("best", hq_mask_alone),
    "the best of four": ("best", candidates("best", slice(0, 4))),
    "the first of three": ("best", candidates("best", slice(1, 2))),
    "single is the first of three": ("single", candidates("single", slice(1, 2))),
    "finer features of another image": ("best", finer_features_of_another_image),
}
"""The policy with which the mistake is seen, and the mistake."""


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mistake_is_seen(name: str, with_vit: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, mistake = MUTANTS[name]
    some = {prompt: with_vit.answers[policy][prompt] for prompt in ("point", "box")}

    assert errors(mistake(with_vit.network(), monkeypatch), policy, some).logits > 1e-3


# Files of official size

SIZES = ("vit_tiny", "vit_b", "vit_l", "vit_h")


def shapes_of_size(size: str) -> dict[str, tuple[int, ...]]:
    return shapes_of(empty(partial(new_sam_hq, size)).state_dict())


@pytest.mark.parametrize("size", SIZES)
def test_names_and_shapes_of_weights_are_the_official_ones(size: str) -> None:
    assert shapes_of_size(size) == shapes_of(hq_authors.unfilled(size).state_dict())


@pytest.mark.parametrize(("size", "early"), [("vit_b", 2), ("vit_l", 5), ("vit_h", 7), ("vit_tiny", 1)])
def test_early_features_are_those_after_the_first_global_attention(size: str, early: int) -> None:
    assert early_stage(empty(partial(new_sam_hq, size)).image_encoder) == early


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_known_by_its_names(size: str) -> None:
    shapes = shapes_of_size(size)

    ours = (sam_hq.vit_tiny, sam_hq.vit_b, sam_hq.vit_l, sam_hq.vit_h)
    assert [model.name for model in ours if model.holds(shapes)] == [f"sam_hq_{size}"]
    assert not any(model.holds(shapes) for model in (mobile_sam, sam.vit_b, sam.vit_l, sam.vit_h))


def test_a_file_without_one_of_its_tensors_is_refused() -> None:
    weights = seeded_weights(empty(partial(new_sam_hq, "vit_tiny")).state_dict())
    name = "mask_decoder.hf_mlp.layers.1.weight"
    del weights[name]

    with pytest.raises(ModelUnavailable, match=re.escape(f"it lacks {name}")):
        sam_hq_of("sam_hq_vit_tiny", weights)


@pytest.mark.campaign
@pytest.mark.parametrize("policy", ["best", "single"])
def test_answers_of_the_official_size_are_those_of_the_authors_code(policy: MaskPolicy) -> None:
    weights = seeded_weights(empty(partial(new_sam_hq, "vit_tiny")).state_dict())
    theirs = hq_authors.official_sam_hq("vit_tiny", weights)
    expected = answers(partial(hq_authors.predicted, theirs, policy=policy), ["box", "mask"])

    assert_equal(sam_hq_network(sam_hq_of("sam_hq_vit_tiny", weights)), policy, expected)
