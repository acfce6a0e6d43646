"""Simplified outlines have fewer points, and no point of the outline is farther than the tolerance."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from sampoll.core.results import Mask
from sampoll.formats.geometry.contours import outer_contours
from sampoll.formats.geometry.simplify import simplified

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.booleans())


def farthest(ring: NDArray[np.int32], polygon: NDArray[np.int32]) -> float:
    """From the polygon, of all pixels on the ring, by OpenCV."""
    canvas = np.zeros(ring.max(axis=0)[::-1] + 1, np.uint8)
    cv2.polylines(canvas, [ring], True, 1)
    rows, columns = np.nonzero(canvas)
    distances = [
        abs(cv2.pointPolygonTest(polygon, (float(x), float(y)), True))
        for x, y in zip(columns, rows, strict=True)
    ]
    return max(distances)


@settings(max_examples=200)
@given(masks, st.floats(0.25, 8))
def test_no_point_of_the_outline_is_farther_than_the_tolerance(
    mask: NDArray[np.bool_], tolerance: float
) -> None:
    for contour in outer_contours(Mask.from_array(mask, 0.5)):
        polygon = simplified(contour.polygon, tolerance)
        assert len(polygon) >= 3
        assert farthest(contour.polygon, polygon) <= tolerance + 1e-4


@pytest.mark.parametrize("seed", range(20))
def test_on_large_ragged_outlines_too_where_opencv_is_farther_off(seed: int) -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((160, 160)), (0, 0), 3)
    for contour in outer_contours(Mask.from_array(noise > np.median(noise), 0.5)):
        assert farthest(contour.polygon, simplified(contour.polygon, 2.0)) <= 2.0 + 1e-4


def test_a_larger_tolerance_needs_fewer_points() -> None:
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = np.stack([100 + 90 * np.cos(angles), 100 + 90 * np.sin(angles)], axis=1)

    counts = [len(simplified(circle, tolerance)) for tolerance in (0.1, 1, 5, 50)]

    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_what_is_left_keeps_its_order_and_its_area_even_if_the_tolerance_is_larger_than_the_shape() -> None:
    ring = np.array([[0, 0], [3, 0], [3, 1], [2, 2], [0, 2]])

    assert len(simplified(ring, 100.0)) == 3
    assert abs(cv2.contourArea(simplified(ring, 100.0).astype(np.int32))) > 0
