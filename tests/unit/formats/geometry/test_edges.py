"""Outlines along the edges of pixels, filled by pycocotools."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco
from scipy.ndimage import binary_fill_holes

from sampoll.core.results import BoolMask, Mask
from sampoll.formats.geometry.edges import edge_polygons

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.booleans())
RING = np.ones((7, 7), np.bool_)
RING[2:5, 2:5] = False


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
