"""The contract of every segmenter."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from support.images import image_of
from support.segmenters import BoxSegmenter, KeptBoxes
from support.small_families import small_mobile_sam, small_sam_hq
from support.small_sam2 import small_edgetam, small_sam2
from support.tiny import tiny_sam

from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Box, Point, Prompt
from sampoll.core.protocols import CacheableSegmenter, Segmenter, StreamingSegmenter
from sampoll.core.results import Mask
from sampoll.models.grabcut.segmenter import GrabCutSegmenter
from sampoll.models.mobile_sam.network import mobile_sam_network
from sampoll.models.sam.network import sam_network
from sampoll.models.sam_hq.network import sam_hq_network
from sampoll.models.shared.segmenter import PromptableSegmenter


@cache
def small_sam3_segmenter() -> Segmenter[Any]:
    from support.small_sam3 import small_sam3

    from sampoll.models.sam3 import build

    with TemporaryDirectory() as directory:
        checkpoint = small_sam3(Path(directory))
        return build(ModelSettings(model="sam3", checkpoint=checkpoint, device="cpu", precision="fp32"))


@cache
def detecting_segmenter() -> Segmenter[Any]:
    from support.small_detectors import small_grounding_dino

    from sampoll.models.detectors import with_detector

    inner = PromptableSegmenter("sam2", small_sam2(), torch.device("cpu"))
    with TemporaryDirectory() as directory:
        return with_detector(inner, small_grounding_dino(Path(directory)), batch_size=2, overlap=0.7)


MAKERS: dict[str, Callable[[], Segmenter[Any]]] = {
    "grabcut": GrabCutSegmenter,
    "sam": lambda: PromptableSegmenter("tiny", sam_network(tiny_sam()), torch.device("cpu")),
    "mobile_sam": lambda: PromptableSegmenter(
        "tiny", mobile_sam_network(small_mobile_sam()), torch.device("cpu")
    ),
    "sam_hq": lambda: PromptableSegmenter("tiny", sam_hq_network(small_sam_hq("vit")), torch.device("cpu")),
    "light_hq": lambda: PromptableSegmenter(
        "tiny", sam_hq_network(small_sam_hq("tiny_vit")), torch.device("cpu")
    ),
    "sam2": lambda: PromptableSegmenter("sam2", small_sam2(), torch.device("cpu")),
    "edgetam": lambda: PromptableSegmenter("edgetam", small_edgetam(), torch.device("cpu")),
    "sam3": small_sam3_segmenter,
    "detecting": detecting_segmenter,
    "boxes": BoxSegmenter,
    "kept": KeptBoxes,
}
PROMPTS = (
    Prompt(box=Box(4, 4, 20, 16)),
    Prompt(points=(Point(9, 9, 1), Point(1, 1, 0))),
    Prompt(points=(Point(9.5, 9.25, 1),), box=Box(2.5, 2.5, 22, 18)),
    Prompt(points=(Point(1, 1, 0),)),
)


@pytest.fixture(params=MAKERS)
def segmenter(request: pytest.FixtureRequest) -> Segmenter[Any]:
    return MAKERS[request.param]()


def answers(segmenter: Segmenter[Any], *work: tuple[Any, tuple[Prompt, ...]]) -> list[list[list[Mask]]]:
    embeddings = segmenter.embed([image for image, _ in work])
    return segmenter.decode([(e, prompts) for e, (_, prompts) in zip(embeddings, work, strict=True)])


def test_each_prompt_of_each_image_gets_masks_of_that_images_size(segmenter: Segmenter[Any]) -> None:
    small, wide = image_of(24, 32), image_of(40, 90, seed=1)

    result = answers(segmenter, (small, PROMPTS[:1]), (wide, PROMPTS))

    assert [len(per_image) for per_image in result] == [1, len(PROMPTS)]
    assert {mask.size for masks in result[0] for mask in masks} == {(24, 32)}
    assert {mask.size for masks in result[1] for mask in masks} == {(40, 90)}


def test_each_image_has_one_embedding(segmenter: Segmenter[Any]) -> None:
    assert len(segmenter.embed([image_of(), image_of(seed=1), image_of(8, 9)])) == 3


def test_the_same_calls_give_the_same_masks(segmenter: Segmenter[Any]) -> None:
    work = (image_of(30, 30), PROMPTS)

    first, second = answers(segmenter, work), answers(segmenter, work)

    for a, b in zip(first[0], second[0], strict=True):
        assert np.array_equal(a[0].packed, b[0].packed)
        assert a[0].score == b[0].score


def test_an_image_has_the_same_masks_in_any_batch(segmenter: Segmenter[Any]) -> None:
    image = image_of(30, 30)

    alone = answers(segmenter, (image, PROMPTS))[0]
    together = answers(segmenter, (image_of(30, 30, seed=5), PROMPTS), (image, PROMPTS))[1]

    for a, b in zip(alone, together, strict=True):
        assert (a[0].pixels() ^ b[0].pixels()).mean() < 0.01
        assert a[0].score == pytest.approx(b[0].score, abs=1e-4)


def test_decoding_does_not_change_the_embedding(segmenter: Segmenter[Any]) -> None:
    embedding = segmenter.embed([image_of(30, 30)])[0]

    first = segmenter.decode([(embedding, PROMPTS)])
    second = segmenter.decode([(embedding, PROMPTS)])

    assert np.array_equal(first[0][0][0].packed, second[0][0][0].packed)


def test_images_of_one_pixel_are_images(segmenter: Segmenter[Any]) -> None:
    prompt = Prompt(points=(Point(0, 0, 1),))

    assert answers(segmenter, (image_of(1, 1), (prompt,)))[0][0][0].size == (1, 1)


def test_a_mask_has_a_finite_score_and_the_model_a_name(segmenter: Segmenter[Any]) -> None:
    [[[mask]]] = answers(segmenter, (image_of(), PROMPTS[:1]))

    assert np.isfinite(mask.score)
    assert segmenter.info.name
    assert segmenter.info.device


@pytest.mark.parametrize(
    "name", ["sam", "mobile_sam", "sam_hq", "sam2", "edgetam", "grabcut", "sam3", "detecting"]
)
def test_masks_that_are_handed_on_as_they_are_made_are_those_of_decode(name: str) -> None:
    segmenter = MAKERS[name]()
    assert isinstance(segmenter, StreamingSegmenter)
    embeddings = segmenter.embed([image_of(30, 41), image_of(24, 32)])
    work = [(embeddings[0], PROMPTS), (embeddings[1], PROMPTS[1:])]
    handed_on: dict[tuple[int, int], list[Mask]] = {}

    def take(image: int, prompt: int, masks: Sequence[Mask]) -> None:
        handed_on.setdefault((image, prompt), []).extend(masks)

    segmenter.decode_into(work, take)

    answers = segmenter.decode(work)
    expected = {(i, n): masks for i, own in enumerate(answers) for n, masks in enumerate(own)}
    assert handed_on.keys() == expected.keys()
    for place, masks in expected.items():
        for ours, theirs in zip(handed_on[place], masks, strict=True):
            assert ours.score == theirs.score
            assert np.array_equal(ours.packed, theirs.packed)


@pytest.mark.parametrize(
    "name", ["sam", "mobile_sam", "sam_hq", "sam2", "edgetam", "grabcut", "sam3", "detecting"]
)
def test_what_stops_the_taking_of_masks_reaches_the_caller(name: str) -> None:
    segmenter = MAKERS[name]()
    assert isinstance(segmenter, StreamingSegmenter)
    [embedding] = segmenter.embed([image_of(30, 41)])

    def take(image: int, prompt: int, masks: Sequence[Mask]) -> None:
        raise BadPrompt("enough")

    with pytest.raises(BadPrompt, match="enough"):
        segmenter.decode_into([(embedding, PROMPTS)], take)


@pytest.mark.parametrize(
    "name", ["sam", "mobile_sam", "sam_hq", "sam2", "edgetam", "light_hq", "kept", "sam3", "detecting"]
)
def test_an_embedding_that_is_kept_gives_the_same_masks(name: str) -> None:
    segmenter = MAKERS[name]()
    assert isinstance(segmenter, CacheableSegmenter)
    [embedding] = segmenter.embed([image_of(30, 41)])

    again = segmenter.unpacked(segmenter.packed(embedding))

    assert segmenter.image_size(embedding) == segmenter.image_size(again) == (30, 41)
    assert segmenter.embedding_bytes > 0
    assert "/" not in segmenter.embedding_key
    [first], [second] = segmenter.decode([(embedding, PROMPTS[:1]), (again, PROMPTS[:1])])
    assert np.array_equal(first[0].packed, second[0].packed)
    with pytest.raises((KeyError, ValueError)):
        segmenter.unpacked({})


@pytest.mark.parametrize("name", ["sam3", "detecting"])
def test_words_give_masks_of_the_images_size_the_best_first_and_none_below_the_threshold(name: str) -> None:
    segmenter = MAKERS[name]()
    prompts = (Prompt(text="a cat", score_thresh=0), PROMPTS[0], Prompt(text="a cat", score_thresh=1))

    [[all_of_them, box, none]] = answers(segmenter, (image_of(30, 41), prompts))

    scores = [mask.score for mask in all_of_them]
    assert len(scores) == 20
    assert scores == sorted(scores, reverse=True)
    assert {mask.size for mask in all_of_them} == {(30, 41)}
    assert len(box) == 1
    assert none == []
