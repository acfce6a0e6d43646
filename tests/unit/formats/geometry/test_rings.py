"""Outlines for formats with one ring per object, filled by the libraries that read them."""

import cv2
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from scipy.ndimage import binary_fill_holes, label

from sampoll.core.results import BoolMask, Mask
from sampoll.formats.geometry.contours import at_least_three, rings_of_parts
from sampoll.formats.geometry.rings import edge_polygons, joined

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.booleans())
RING = np.ones((7, 7), np.bool_)
RING[2:5, 2:5] = False


def drawn_by_pillow(rings: list[np.ndarray], shape: tuple[int, ...]) -> BoolMask:
    canvas = Image.new("1", (shape[1], shape[0]))
    for ring in rings:
        ImageDraw.Draw(canvas).polygon([(int(x), int(y)) for x, y in ring], fill=1, outline=1)
    return np.asarray(canvas)


def drawn_by_opencv(rings: list[np.ndarray], shape: tuple[int, ...]) -> BoolMask:
    canvas = np.zeros(shape, np.uint8)
    for ring in rings:
        cv2.fillPoly(canvas, [ring], 1)
    return canvas.astype(np.bool_)


def one_ring_a_part(pixels: BoolMask) -> list[np.ndarray]:
    return [at_least_three(joined(rings)) for rings in rings_of_parts(Mask.from_array(pixels, 0.5))]


def test_a_hole_is_cut_into_the_ring_of_its_part() -> None:
    [ring] = one_ring_a_part(RING)

    # Only the way to the hole and back differs from the mask, and it runs over the object.
    for drawn in (drawn_by_opencv([ring], RING.shape), drawn_by_pillow([ring], RING.shape)):
        assert np.array_equal(drawn, RING)


@settings(max_examples=300)
@given(masks)
@example(RING)
def test_a_filled_ring_covers_its_part_and_besides_only_its_holes(
    mask: BoolMask,
) -> None:
    drawn = drawn_by_opencv(one_ring_a_part(mask), mask.shape)

    assert (drawn >= mask).all()
    assert (drawn <= binary_fill_holes(mask)).all()
    if label(~np.pad(mask, 1))[1] == 1:
        assert np.array_equal(drawn, mask)


def test_a_hundred_holes_and_islands_survive_the_cuts() -> None:
    mask = np.zeros((200, 200), np.bool_)
    mask[20:180, 20:180] = True
    mask[30:170:14, 30:170:14] = False
    for offset in (1, 2, 3):
        mask[30 + offset : 170 : 14, 30:170:14] = False
        mask[30:170:14, 30 + offset : 170 : 14] = False
    mask[:10:3, ::9] = True

    drawn = drawn_by_opencv(one_ring_a_part(mask), mask.shape)
    everything = joined([ring for rings in rings_of_parts(Mask.from_array(mask, 0.5)) for ring in rings])

    assert (drawn & mask).sum() / (drawn | mask).sum() > 0.98
    assert (drawn_by_opencv([everything], mask.shape) >= mask).all()


@settings(max_examples=300)
@given(masks)
@example(np.ones((1, 1), np.bool_))
@example(np.eye(8, dtype=np.bool_))
@example(RING)
def test_polygons_along_the_edges_are_the_mask_with_its_holes_filled_for_pycocotools(mask: BoolMask) -> None:
    polygons = [p.astype(float).ravel().tolist() for p in edge_polygons(Mask.from_array(mask, 0.5))]

    if not polygons:
        assert not mask.any()
        return
    decoded = coco.decode(coco.merge(coco.frPyObjects(polygons, *mask.shape)))
    assert np.array_equal(decoded.astype(np.bool_), binary_fill_holes(mask))
