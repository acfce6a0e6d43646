from typing import Any

import cv2
import numpy as np
import pytest
from support.images import iou

from sampoll.app.demo import demo_pairs
from sampoll.core.jobs import Box, Point, Prompt, RgbImage
from sampoll.core.results import BoolMask
from sampoll.models.grabcut.segmenter import segment

RED, GREEN = (200, 40, 40), (40, 160, 60)


def scene(height: int = 120, width: int = 160) -> tuple[np.ndarray, BoolMask, BoolMask]:
    """Two red disks on green, a little noisy, and where each of them is."""
    y, x = np.mgrid[0:height, 0:width]
    left, right = np.hypot(y - 60, x - 45) < 25, np.hypot(y - 60, x - 115) < 25
    image = np.where((left | right)[..., None], RED, GREEN) + np.random.default_rng(0).normal(
        0, 6, (height, width, 3)
    )
    return np.clip(image, 0, 255).astype(np.uint8), left, right


def test_a_box_gives_the_object_inside_it() -> None:
    image, left, _ = scene()

    assert iou(segment(image, Prompt(box=Box(12, 28, 80, 92))).pixels(), left) > 0.95


def test_a_point_gives_the_object_under_it_and_no_other_of_its_colour() -> None:
    image, _, right = scene()

    assert iou(segment(image, Prompt(points=(Point(115, 60, 1),))).pixels(), right) > 0.95


def test_a_background_point_takes_an_object_out_of_the_box() -> None:
    image, left, right = scene()
    box = Box(10, 25, 150, 95)

    both = segment(image, Prompt(box=box))
    with_point = segment(image, Prompt(box=box, points=(Point(115, 60, 0), Point(45, 60, 1))))

    assert iou(both.pixels(), left | right) > 0.95
    assert both.pixels()[60, 115]
    assert not with_point.pixels()[60, 115]


def test_only_background_points_give_an_empty_mask() -> None:
    mask = segment(scene()[0], Prompt(points=(Point(5, 5, 0),)))

    assert (mask.box, mask.score) == (None, 0.0)


def test_the_score_is_an_iou() -> None:
    assert 0.9 < segment(scene()[0], Prompt(box=Box(12, 28, 80, 92))).score <= 1


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(box=Box(-50, -50, 5000, 5000)),
        Prompt(box=Box(158.5, 118.5, 170, 130)),
        Prompt(points=(Point(159.9, 119.9, 1), Point(0, 0, 1))),
        Prompt(points=(Point(3, 3, 1),), box=Box(100, 100, 101, 101)),
    ],
    ids=["over every edge", "at the corner", "corner points", "a point far from its box"],
)
def test_prompts_at_the_limits_give_masks(prompt: Prompt) -> None:
    assert segment(scene()[0], prompt).size == (120, 160)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (700, 2), (3, 3)])
def test_images_of_extreme_shapes_give_masks(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)

    assert segment(image, Prompt(points=(Point(0, 0, 1),))).size == shape
    assert segment(image, Prompt(box=Box(0, 0, shape[1], shape[0]))).size == shape


def test_a_large_photograph_is_cut_at_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = cv2.grabCut

    def recorded(image: RgbImage, *rest: Any) -> Any:
        sizes.append(image.shape)
        return original(image, *rest)

    monkeypatch.setattr(cv2, "grabCut", recorded)
    image = np.kron(scene()[0], np.ones((20, 20, 1), np.uint8))

    mask = segment(image, Prompt(points=(Point(900, 1200, 1),)))

    assert mask.size == (2400, 3200)
    assert max(max(size[:2]) for size in sizes) <= 512


def test_the_demo_is_segmented_as_it_was_drawn() -> None:
    for pair in demo_pairs():
        for prompt, truth in zip(pair.prompts, pair.truths, strict=True):
            assert iou(segment(pair.image, prompt).pixels(), truth) > 0.9, pair.name
