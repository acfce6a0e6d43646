"""Label Studio's run-length encoding, decoded as its editor does it."""

import numpy as np
import pytest
from support.label_studio import alpha_of

from sampoll.core.results import BoolMask, Mask
from sampoll.formats.geometry import brush_rle as module
from sampoll.formats.geometry.brush_rle import MAX_PIXELS, brush_rle


def decoded(pixels: BoolMask) -> BoolMask:
    rle = list(brush_rle(Mask.from_array(pixels, 0.5)))
    alpha = np.array(alpha_of(rle, (pixels.shape[0], pixels.shape[1])))
    assert set(np.unique(alpha)) <= {0, 255}
    return alpha.astype(np.bool_)


def test_a_small_mask_is_what_label_studio_itself_makes_of_it() -> None:
    pixels = np.zeros((3, 5), np.bool_)
    pixels[1, 1:4] = True

    # By label_studio_sdk.converter.brush.mask2rle of version 2.1.2.
    expected = [0, 0, 0, 60, 57, 27, 254, 23, 0, 183, 255, 133, 192, 0]
    assert list(brush_rle(Mask.from_array(pixels, 0.5))) == expected


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 13), (40, 51)])
def test_any_mask_comes_back(shape: tuple[int, int], share: float) -> None:
    pixels = np.random.default_rng(1).random(shape) < share

    np.testing.assert_array_equal(decoded(pixels), pixels)


@pytest.mark.parametrize("run", [1, 2, 3, 4, 5, 64, 65, 16384, 16385, 40000])
def test_runs_of_all_lengths_come_back(run: int) -> None:
    pixels = np.zeros((1, run + 2), np.bool_)
    pixels[0, 1:-1] = True

    np.testing.assert_array_equal(decoded(pixels), pixels)


def test_many_runs_are_encoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKETS_AT_ONCE", 3)
    pixels = np.random.default_rng(2).random((20, 31)) < 0.3

    np.testing.assert_array_equal(decoded(pixels), pixels)


def test_an_image_whose_values_cannot_be_counted_is_refused() -> None:
    height = MAX_PIXELS // 8 + 1
    packed = np.zeros((height, 1), np.uint8)
    with pytest.raises(ValueError, match="at most"):
        brush_rle(Mask(packed, (height, 8), None, 0.5))
