import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from sampoll.core.results import BoolMask, Mask
from sampoll.formats.geometry.rle import mask_of, rle_of

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.booleans())


@given(masks)
def test_pycocotools_reads_the_mask_and_its_area(pixels: BoolMask) -> None:
    rle = rle_of(Mask.from_array(pixels, 0.5))

    assert np.array_equal(coco.decode(rle), pixels)
    assert rle["counts"].encode() == coco.encode(np.asfortranarray(pixels.view(np.uint8)))["counts"]
    assert coco.area(rle) == pixels.sum()


@given(masks)
def test_a_mask_that_was_encoded_is_decoded_unchanged(pixels: BoolMask) -> None:
    mask = mask_of(rle_of(Mask.from_array(pixels, 0.5)), 0.25)

    assert np.array_equal(mask.pixels(), pixels)
    assert mask.score == 0.25


@pytest.mark.parametrize(
    "rle",
    [
        {},
        {"size": [2, 2]},
        {"size": [2], "counts": "04"},
        {"size": [2, 2**53 + 1], "counts": "04"},
        {"size": [2**32, 2**32], "counts": "04"},
        {"size": [-2, -2], "counts": "04"},
        {"size": [2.0, 2], "counts": "04"},
        {"size": [2, True], "counts": "02"},
        {"size": [2, 2], "counts": "0"},
        {"size": [2, 2], "counts": "09"},
        {"size": [2, 2], "counts": "0P"},
        {"size": [2, 2], "counts": "0" + "P" * 8 + "4"},
        {"size": [2, 2], "counts": "0\x7f4"},
        {"size": [2, 2], "counts": "é"},
    ],
)
def test_an_invalid_encoding_is_refused(rle: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError)):
        mask_of(rle, 0.5)  # type: ignore[arg-type]
