"""Parts that are removed from masks, and holes that are filled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import binary_fill_holes
from skimage.measure import label, regionprops
from skimage.morphology import remove_small_holes, remove_small_objects

from sampoll.config.settings.masks import MaskSettings
from sampoll.core.results import BoolMask, Mask
from sampoll.engine.postprocess import clean_mask

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.booleans())


def cleaned(pixels: BoolMask, settings: MaskSettings) -> BoolMask:
    mask = clean_mask(Mask.from_array(pixels, 0.25), settings)
    assert mask.score == 0.25
    return mask.pixels()


def drawn(*lines: str) -> BoolMask:
    return np.array([[pixel == "#" for pixel in line] for line in lines])


TWO_PARTS = drawn(
    "###...##",
    "#.#...##",
    "###.....",
    "#.#.....",
    "###.....",
)


@given(masks)
def test_compressed_masks_are_cleaned_alike_and_stay_compressed(pixels: BoolMask) -> None:
    settings = MaskSettings(fill_holes_area=3, largest_only=True)

    mask = clean_mask(Mask.from_array(pixels, 0.25).compressed(), settings)

    assert isinstance(mask.bits, bytes)
    assert np.array_equal(mask.pixels(), cleaned(pixels, settings))


@given(masks, st.integers(1, 30))
def test_holes_are_filled_as_scikit_image_fills_them_but_nothing_at_the_edge(
    pixels: BoolMask, area: int
) -> None:
    enclosed = binary_fill_holes(pixels)
    expected = pixels | (enclosed & remove_small_holes(pixels | ~enclosed, max_size=area - 1, connectivity=1))

    assert np.array_equal(cleaned(pixels, MaskSettings(fill_holes_area=area)), expected)


@given(masks.filter(lambda pixels: bool(pixels.any())), st.integers(1, 30))
def test_islands_are_removed_as_in_scikit_image_and_the_largest_part_stays(
    pixels: BoolMask, area: int
) -> None:
    sizes = [part.area for part in regionprops(label(pixels, connectivity=2))]
    expected = remove_small_objects(pixels, max_size=min(area, max(sizes)) - 1, connectivity=2)

    assert np.array_equal(cleaned(pixels, MaskSettings(remove_islands_area=area)), expected)


@pytest.mark.parametrize(
    ("settings", "columns"),
    [
        (MaskSettings(min_object_size=2), [0, 1, 2, 6, 7]),
        (MaskSettings(min_object_size=3), [0, 1, 2]),
        (MaskSettings(min_object_size=4), []),
        (MaskSettings(max_object_size=5), [0, 1, 2, 6, 7]),
        (MaskSettings(max_object_size=4), [6, 7]),
        (MaskSettings(max_object_size=1), []),
        (MaskSettings(largest_only=True), [0, 1, 2]),
        (MaskSettings(largest_only=True, max_object_size=4), [6, 7]),
    ],
)
def test_an_object_that_is_too_narrow_too_low_too_wide_or_too_high_is_dropped(
    settings: MaskSettings, columns: list[int]
) -> None:
    assert np.flatnonzero(cleaned(TWO_PARTS, settings).any(axis=0)).tolist() == columns


def test_holes_are_filled_before_sizes_are_compared_and_islands_dropped_before() -> None:
    ring = drawn("####.", "#..#.", "#..#.", "####.", "....#")

    settings = MaskSettings(fill_holes_area=5, remove_islands_area=20, largest_only=True)

    # The corner touches the ring, so that it is no island; and with its hole filled, the ring has 16 pixels.
    assert cleaned(ring, settings).sum() == 17


def test_of_two_parts_of_one_size_the_first_stays() -> None:
    assert np.array_equal(
        cleaned(drawn("#.#"), MaskSettings(largest_only=True, remove_islands_area=9)), drawn("#..")
    )


@given(masks)
def test_without_anything_to_do_a_mask_is_the_same_object(pixels: BoolMask) -> None:
    mask = Mask.from_array(pixels, 0.5)

    assert clean_mask(mask, MaskSettings()) is mask
    little = MaskSettings(fill_holes_area=1, remove_islands_area=1, min_object_size=1)
    assert clean_mask(mask, little) is mask
