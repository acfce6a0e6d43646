"""Prompts of many images in one call, against segment_anything's predictor one by one."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from support.images import image_of
from support.process import environment
from support.tiny import tiny_sam

from sampoll.core.jobs import Box, Point, Prompt, RgbImage
from sampoll.models.sam.network import sam_network
from sampoll.models.shared import mask_making
from sampoll.models.shared import packed_bits as bits
from sampoll.models.shared.decoder import Decoder
from sampoll.models.shared.packed_bits import packed_bits
from sampoll.models.shared.prompt_tokens import prompt_tokens
from sampoll.models.shared.segmenter import PromptableSegmenter

CPU = torch.device("cpu")
POINT, BACKGROUND, OTHER = Point(20, 15, 1), Point(3.5, 4.25, 0), Point(30, 20, 1)
PROMPTS = [
    Prompt(points=(POINT,)),
    Prompt(box=Box(5, 4, 30.5, 22)),
    Prompt(points=(POINT, BACKGROUND)),  # as many tokens as the next one
    Prompt(points=(OTHER,), box=Box(5, 4, 30, 22)),
    Prompt(points=(POINT, BACKGROUND, OTHER), box=Box(1, 1, 30, 22)),
    Prompt(points=(OTHER,)),
    Prompt(box=Box(-5, 2, 90, 99)),  # larger than the image
]


def expected(sam: Sam, image: RgbImage, prompt: Prompt) -> tuple[np.ndarray, float]:
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    box = prompt.box
    masks, scores, _ = predictor.predict(
        point_coords=np.array([[p.x, p.y] for p in prompt.points]) if prompt.points else None,
        point_labels=np.array([p.label for p in prompt.points]) if prompt.points else None,
        box=np.array([box.x0, box.y0, box.x1, box.y1]) if box else None,
    )
    best = int(scores.argmax())
    return masks[best], float(scores[best])


def assert_all_as_expected(sam: Sam, images: Sequence[RgbImage], batch: int) -> None:
    segmenter = PromptableSegmenter("sam", sam_network(sam), CPU, prompt_batch=batch)
    # Each image has the prompts in another order, so the buckets mix them.
    work = [PROMPTS[number:] + PROMPTS[:number] for number in range(len(images))]

    answers = segmenter.decode(list(zip(segmenter.embed(images), work, strict=True)))

    for image, prompts, masks in zip(images, work, answers, strict=True):
        for prompt, [mask] in zip(prompts, masks, strict=True):
            pixels, score = expected(sam, image, prompt)
            assert mask.score == pytest.approx(score, abs=1e-5)
            assert (mask.pixels() != pixels).mean() < 1e-3


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_prompts_of_many_images_are_answered_as_if_each_were_alone(batch: int) -> None:
    assert_all_as_expected(tiny_sam(), [image_of(40, 57), image_of(24, 32, 1), image_of(33, 90, 2)], batch)


def test_masks_that_are_large_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_making, "UPSAMPLED_BYTES", 2 * 4 * 40 * 57)
    assert_all_as_expected(tiny_sam(), [image_of(40, 57), image_of(24, 32, 1)], 64)


def test_only_prompts_of_equally_many_tokens_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    original = Decoder.forward

    def counted(decoder: Decoder, *given: Any) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(tuple(given[3].shape))  # (P, T)
        return original(decoder, *given)

    monkeypatch.setattr(Decoder, "forward", counted)
    segmenter = PromptableSegmenter("sam", sam_network(tiny_sam()), CPU, prompt_batch=4)

    segmenter.decode([(embedding, PROMPTS) for embedding in segmenter.embed([image_of(), image_of()])])

    assert sorted(calls) == [(2, 5), (4, 2), (4, 2), (4, 3)]


def test_the_first_layer_is_computed_once_per_image(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = PromptableSegmenter("sam", sam_network(tiny_sam()), CPU, prompt_batch=2)
    projected: list[int] = []
    decoder: Any = segmenter._masks.decoder
    first = decoder.first
    original = first.projected

    def counted(image: torch.Tensor) -> Any:
        projected.append(len(image))
        return original(image)

    monkeypatch.setattr(first, "projected", counted)
    segmenter.decode([(segmenter.embed([image_of()])[0], [Prompt(points=(POINT,))] * 8)])

    assert projected == [1]


def test_a_prompt_becomes_the_tokens_that_the_model_was_trained_on() -> None:
    places, kinds = prompt_tokens(Prompt(points=(POINT, BACKGROUND)))
    assert places.tolist() == [[20, 15], [3.5, 4.25], [0, 0]]
    assert kinds.tolist() == [1, 0, -1]

    places, kinds = prompt_tokens(Prompt(points=(POINT,), box=Box(1, 2, 3, 4)))
    assert places.tolist() == [[20, 15], [1, 2], [3, 4]]
    assert kinds.tolist() == [1, 2, 3]


@pytest.mark.parametrize("width", [1, 7, 8, 9, 64, 1001])
def test_bits_packed_on_a_device_are_those_that_numpy_packs(width: int) -> None:
    mask = torch.rand(3, 5, width, generator=torch.Generator().manual_seed(width)) > 0.5

    by_torch = bits._packed_by_torch(mask)

    assert by_torch.dtype == torch.uint8
    assert np.array_equal(by_torch, np.packbits(mask.numpy(), axis=-1))
    assert torch.equal(packed_bits(mask), by_torch)


MANY_BOXES = """
import resource
import torch
from support.images import image_of
from support.tiny import tiny_sam
from sampoll.core.jobs import Box, Prompt
from sampoll.models.sam.network import sam_network
from sampoll.models.shared.segmenter import PromptableSegmenter

segmenter = PromptableSegmenter("sam", sam_network(tiny_sam()), torch.device("cpu"), prompt_batch=64)
[embedding] = segmenter.embed([image_of(1500, 2000)])
boxes = [Prompt(box=Box(n, n, n + 300, n + 200)) for n in range(500)]
segmenter.decode([(embedding, boxes[:1])])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
[masks] = segmenter.decode([(embedding, boxes)])
print(len(masks), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_many_prompts_on_a_large_image_take_bounded_memory() -> None:
    run = subprocess.run(
        [sys.executable, "-c", MANY_BOXES], env=environment(), capture_output=True, text=True, check=True
    )
    count, mebibytes = map(int, run.stdout.split())
    assert count == 500
    # The masks themselves take 180; at the size of the image, their logits would take 5,700.
    assert mebibytes < 900
