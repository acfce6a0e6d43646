"""Outlines for formats with one closed line an object, filled by the libraries that read them."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import cv2
import numpy as np
import PIL
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw
from scipy.ndimage import binary_fill_holes

from sampoll.core.results import BoolMask, Mask
from sampoll.formats.geometry.contours import Polygon, outer_contours, rings_of_parts
from sampoll.formats.geometry.rings import one_ring

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.booleans())
RING = np.ones((7, 7), np.bool_)
RING[2:5, 2:5] = False
LATTICE = np.ones((9, 9), np.bool_)
LATTICE[1::2, 1::2] = False
CHAIN = np.array([[0, 1, 0, 1, 0], [1, 0, 1, 0, 1], [0, 1, 0, 1, 0]], np.bool_)


def drawn_by_pillow(rings: Sequence[Polygon], shape: tuple[int, ...]) -> BoolMask:
    """As LabelMe draws polygons."""
    canvas = Image.new("1", (shape[1], shape[0]))
    for ring in rings:
        ImageDraw.Draw(canvas).polygon([(int(x), int(y)) for x, y in ring], fill=1, outline=1)
    return np.array(canvas, np.bool_)


def drawn_by_opencv(rings: Sequence[Polygon], shape: tuple[int, ...]) -> BoolMask:
    canvas = np.zeros(shape, np.uint8)
    for ring in rings:
        cv2.fillPoly(canvas, [ring], 1)
    return canvas.astype(np.bool_)


# Older versions of Pillow draw wrong pixels for some simple outlines too.
IS_EXACT = tuple(map(int, PIL.__version__.split(".")[:2])) >= (11, 2)
LIBRARIES = [drawn_by_opencv, *([drawn_by_pillow] if IS_EXACT else [])]


def parts_of(pixels: BoolMask) -> list[list[Polygon]]:
    return list(rings_of_parts(Mask.from_array(pixels, 0.5)))


def blob(seed: int) -> BoolMask:
    """Smooth noise with holes, parts, straight lines and single pixels, which may touch the edges."""
    random = np.random.default_rng(seed)
    height, width = random.integers(20, 120, 2)
    noise = cv2.GaussianBlur(random.random((height, width)), (0, 0), float(random.choice([0.7, 1.5, 3, 6])))
    canvas = (noise > np.quantile(noise, random.choice([0.2, 0.5, 0.8]))).astype(np.uint8)
    for value in (0, 1, 1):
        start, end = random.integers(0, [width, height], (2, 2)).tolist()
        cv2.line(canvas, start, end, value, 1)
    pixels: BoolMask = canvas.astype(np.bool_)
    return pixels


@pytest.mark.parametrize("drawn_by", LIBRARIES)
@settings(max_examples=300)
@given(masks)
@example(RING)
@example(LATTICE)
@example(CHAIN)
@example(np.ones((1, 1), np.bool_))
@example(np.eye(8, dtype=np.bool_))
def test_the_lines_of_the_parts_are_drawn_as_the_mask_holes_included(
    drawn_by: Callable[..., BoolMask], mask: BoolMask
) -> None:
    assert np.array_equal(drawn_by([one_ring([part]) for part in parts_of(mask)], mask.shape), mask)


@pytest.mark.parametrize("drawn_by", LIBRARIES)
@pytest.mark.parametrize("seed", range(40))
def test_of_larger_masks_too(drawn_by: Callable[..., BoolMask], seed: int) -> None:
    mask = blob(seed)

    assert np.array_equal(drawn_by([one_ring([part]) for part in parts_of(mask)], mask.shape), mask)


def straight_pixels(start: np.ndarray, end: np.ndarray) -> int:
    """How many pixels lie between two others on a straight line."""
    return int(np.abs(start - end).max()) - 1


@settings(max_examples=300)
@given(masks.filter(lambda mask: mask.any()))
@example(RING)
def test_one_line_through_all_parts_draws_them_and_the_ways_between_them(mask: BoolMask) -> None:
    line = one_ring(parts_of(mask))

    for drawn_by in LIBRARIES:
        assert (drawn_by([line], mask.shape) >= mask).all()
    drawn = drawn_by_opencv([line], mask.shape)
    # Between neighbours in any order; the shortest ways are not longer.
    contours = [contour.polygon for contour in outer_contours(Mask.from_array(mask, 0.5))]
    allowed = sum(straight_pixels(a[0], b[0]) for a, b in pairwise(contours))
    assert (drawn & ~mask).sum() <= allowed


def test_parts_are_connected_where_they_are_nearest() -> None:
    mask = np.zeros((60, 60), np.bool_)
    mask[2:5, 2:58] = mask[10:13, 2:58] = mask[20, 50] = mask[40:50, 2:20] = True
    mask[43:47, 5:15] = False
    mask[45, 7] = True

    drawn = drawn_by_opencv([one_ring(parts_of(mask))], mask.shape)

    assert (drawn & ~mask).sum() == 5 + 7 + 27 + 1
    assert (drawn >= mask).all()


def test_a_thousand_parts_and_ten_thousand_holes_are_all_there() -> None:
    mask = np.zeros((400, 400), np.bool_)
    mask[:200:4, :200:4] = True  # 2,500 parts
    mask[200:, :] = True
    mask[202:398:3, 2:398:3] = False  # 8,712 holes
    parts = parts_of(mask)

    drawn = drawn_by_opencv([one_ring(parts)], mask.shape)

    assert len(parts) == 2501
    assert (drawn >= mask).all()
    assert (drawn & ~mask).sum() <= 3 * 2501
    assert not (drawn & ~mask)[200:].any()


@settings(max_examples=200)
@given(masks, st.floats(0.25, 4))
def test_a_simplified_line_keeps_to_the_pixels_near_the_outline(mask: BoolMask, tolerance: float) -> None:
    for part in parts_of(mask):
        line = one_ring([part], tolerance)
        exact = one_ring([part])
        assert len(line) >= 3
        assert len(line) <= len(exact)
        assert {tuple(point) for point in line.tolist()} <= {tuple(point) for point in exact.tolist()}


def test_a_line_through_a_mask_without_holes_has_no_more_points_than_its_outline() -> None:
    [part] = parts_of(binary_fill_holes(RING))

    assert len(one_ring([part])) == 4
