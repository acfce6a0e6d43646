"""Overlays are small, and everything in them is where it is in the image."""

import io
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.images import encoded, turned_image

from sampoll.core.jobs import Box, Everything, Point, Prompt
from sampoll.core.results import Mask, ModelInfo, Segmentation
from sampoll.formats.options import FormatOptions
from sampoll.formats.overlay import build

GRAY = 128


def drawn(
    height: int, width: int, *answers: tuple[Prompt, list[Mask]], image: bytes | None = None
) -> np.ndarray:
    content = encoded(np.full((height, width, 3), GRAY, np.uint8)) if image is None else image
    segmentation = Segmentation(
        "job",
        "a",
        tuple(prompt for prompt, _ in answers),
        tuple(tuple(masks) for _, masks in answers),
        ModelInfo("m"),
        (height, width),
        "0" * 64,
        {},
        image=content,
    )
    [artifact] = build(FormatOptions()).render(segmentation, [])
    assert artifact.suffix == "overlay/.jpg"
    with Image.open(io.BytesIO(artifact.content)) as picture:
        assert picture.format == "JPEG"
        return np.asarray(picture).astype(int)


def mask_of(height: int, width: int, top: int, left: int, bottom: int, right: int) -> Mask:
    pixels = np.zeros((height, width), np.bool_)
    pixels[top:bottom, left:right] = True
    return Mask.from_array(pixels, 0.5)


def is_tinted(pixel: np.ndarray) -> bool:
    return bool(np.ptp(pixel) > 40)


@pytest.mark.parametrize("far", [30, 9e8])
def test_a_box_is_drawn_where_it_crosses_the_picture_however_far_it_reaches(far: float) -> None:
    everywhere, across = (
        Prompt(box=Box(-far, -far, 100 + far, 100 + far)),
        Prompt(box=Box(-far, 20, 60, 100 + far)),
    )
    started = time.process_time()

    surrounded, crossed = (drawn(100, 100, (prompt, [])) for prompt in (everywhere, across))

    assert time.process_time() - started < 2
    assert np.abs(surrounded - GRAY).max() < 8
    assert crossed[20, 30].min() > 200  # its upper side
    assert crossed[60, 60].min() > 200  # its right side
    assert np.abs(crossed[30:, :50] - GRAY).max() < 16
    assert np.abs(crossed[:, 70:] - GRAY).max() < 16


def test_only_the_pixels_of_a_mask_are_tinted() -> None:
    prompt = Prompt(box=Box(1, 1, 3, 3))

    picture = drawn(300, 400, (prompt, [mask_of(300, 400, 100, 150, 200, 250)]))

    assert picture.shape == (300, 400, 3)
    assert is_tinted(picture[150, 200])
    assert is_tinted(picture[195, 245])
    for row, column in ((50, 200), (250, 200), (150, 100), (150, 300)):
        assert np.abs(picture[row, column] - GRAY).max() < 8


def test_the_overlay_of_a_large_image_is_small_and_its_masks_are_in_place() -> None:
    picture = drawn(
        3000, 4000, (Prompt(points=(Point(9, 9, 1),)), [mask_of(3000, 4000, 1000, 1500, 2000, 2500)])
    )

    assert picture.shape == (768, 1024, 3)
    assert is_tinted(picture[384, 512])
    assert np.abs(picture[384, 300] - GRAY).max() < 8


def test_boxes_are_white_and_points_green_or_red() -> None:
    points = (Point(50, 60, 1), Point(150, 60, 0))
    empty = mask_of(200, 200, 0, 0, 0, 0)

    picture = drawn(200, 200, (Prompt(points=points, box=Box(20, 100, 180, 180)), [empty]))

    assert picture[60, 50][1] > picture[60, 50][0] + 60
    assert picture[60, 150][0] > picture[60, 150][1] + 60
    assert picture[100, 100].min() > 200


def test_each_mask_has_its_own_colour() -> None:
    answers = [
        (Prompt(box=Box(0, 0, 1, 1)), [mask_of(100, 400, 20, 100 * k + 20, 80, 100 * k + 80)])
        for k in range(4)
    ]

    picture = drawn(100, 400, *answers)

    colours = [picture[60, 100 * k + 50] for k in range(4)]
    assert min(np.abs(a - b).max() for i, a in enumerate(colours) for b in colours[:i]) > 40


def test_pixels_that_never_were_a_file_are_drawn_as_those_of_a_file() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    plain = Segmentation("job", "a", (), (), ModelInfo("m"), (20, 30), "0" * 64, {})

    [of_pixels] = build(FormatOptions()).render(replace(plain, pixels=pixels), [])
    [of_file] = build(FormatOptions()).render(replace(plain, image=encoded(pixels)), [])

    assert of_pixels.content == of_file.content


def test_the_picture_is_upright_as_the_masks_are() -> None:
    picture = drawn(
        32, 24, (Prompt(box=Box(1, 1, 2, 2)), [mask_of(32, 24, 0, 0, 9, 9)]), image=turned_image(24, 32)
    )

    assert picture.shape == (32, 24, 3)


@pytest.mark.parametrize("label", ["ä" * 300, "\u202eright to left\n", "物体"])
def test_any_label_can_be_drawn(label: str) -> None:
    assert drawn(40, 50, (Prompt(box=Box(1, 1, 9, 9), label=label), [mask_of(40, 50, 0, 0, 40, 50)])).size


def test_an_image_without_masks_and_one_with_hundreds_are_drawn() -> None:
    one_pixel = mask_of(1, 1, 0, 0, 1, 1)

    assert drawn(30, 30, (Prompt(everything=Everything()), [])).shape == (30, 30, 3)
    assert drawn(1, 1, (Prompt(everything=Everything()), [one_pixel] * 300)).shape == (1, 1, 3)
