"""The polygons must give the mask back when another library fills them."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import binary_fill_holes
from skimage.measure import label

from sampoll.core.results import BoolMask, Mask
from sampoll.formats.geometry.contours import OuterContour, outer_contours

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.booleans())


def contours_of(pixels: BoolMask) -> list[OuterContour]:
    return list(outer_contours(Mask.from_array(pixels, 0.5)))


def refilled(contours: list[OuterContour], shape: tuple[int, int]) -> BoolMask:
    canvas = np.zeros(shape, np.uint8)
    for contour in contours:
        cv2.fillPoly(canvas, [contour.polygon], 1)
    return canvas.astype(np.bool_)


@settings(max_examples=400)
@given(masks)
@example(np.ones((1, 1), np.bool_))
@example(np.ones((1, 9), np.bool_))
@example(np.ones((9, 1), np.bool_))
@example(np.ones((7, 9), np.bool_))
@example(np.eye(8, dtype=np.bool_))
def test_refilled_polygons_are_the_mask_with_its_holes_filled(mask: BoolMask) -> None:
    contours = contours_of(mask)

    assert np.array_equal(refilled(contours, mask.shape), binary_fill_holes(mask))


@given(masks)
def test_one_contour_for_each_connected_part(mask: BoolMask) -> None:
    assert len(contours_of(mask)) == label(mask, connectivity=2).max()


@given(masks)
def test_strict_readers_accept_every_contour(mask: BoolMask) -> None:
    for contour in contours_of(mask):
        box = contour.box
        assert len(contour.polygon) >= 3
        assert contour.polygon.dtype == np.int32
        assert box.left < box.right
        assert box.top < box.bottom
        for x, y in contour.polygon:
            assert box.left <= x <= box.right
            assert box.top <= y <= box.bottom


@given(masks.filter(lambda mask: min(mask.shape) > 1))
def test_boxes_stay_inside_the_image(mask: BoolMask) -> None:
    height, width = mask.shape
    for contour in contours_of(mask):
        assert contour.box.left >= 0
        assert contour.box.top >= 0
        assert contour.box.right < width
        assert contour.box.bottom < height


def test_a_hole_is_not_an_object_and_an_island_in_it_is() -> None:
    mask = np.ones((9, 9), np.bool_)
    mask[2:7, 2:7] = False
    mask[4, 4] = True

    polygons = [contour.polygon.tolist() for contour in contours_of(mask)]

    assert sorted(map(len, polygons)) == [3, 4]
    assert [[4, 4]] * 3 in polygons


@pytest.mark.parametrize(
    ("pixel", "left", "right"),
    [((0, 0), 0, 1), ((2, 2), 2, 3), ((2, 4), 3, 4)],
    ids=["corner", "inside", "edge"],
)
def test_the_box_of_a_single_pixel_is_one_pixel_larger(pixel: tuple[int, int], left: int, right: int) -> None:
    mask = np.zeros((5, 5), np.bool_)
    mask[pixel] = True

    [contour] = contours_of(mask)

    assert (contour.box.left, contour.box.right) == (left, right)


def test_an_empty_mask_has_no_contours() -> None:
    assert contours_of(np.zeros((5, 5), np.bool_)) == []
