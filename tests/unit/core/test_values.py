import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sampoll.core.jobs import Box, Point, Prompt
from sampoll.core.names import printable
from sampoll.core.results import BoolMask, Mask, PixelBox

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=20))


@given(masks)
def test_the_pixels_of_a_mask_are_those_it_was_made_of(pixels: BoolMask) -> None:
    assert np.array_equal(Mask.from_array(pixels, 0.5).pixels(), pixels)


@given(masks)
def test_the_box_of_a_mask_holds_all_its_pixels_and_no_more(pixels: BoolMask) -> None:
    box = Mask.from_array(pixels, 0.5).box

    if box is None:
        assert not pixels.any()
        return
    inside = pixels[box.top : box.bottom + 1, box.left : box.right + 1]
    assert inside.sum() == pixels.sum()
    assert inside[0].any()
    assert inside[-1].any()
    assert inside[:, 0].any()
    assert inside[:, -1].any()


def test_a_single_pixel_has_a_box_of_itself() -> None:
    pixels = np.zeros((3, 4), np.bool_)
    pixels[1, 2] = True

    assert Mask.from_array(pixels, 1).box == PixelBox(2, 1, 2, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Point(float("nan"), 0, 1),
        lambda: Point(0, 0, 2),
        lambda: Box(5, 0, 5, 1),
        lambda: Box(0, 2, 1, 1),
        lambda: Box(0, 0, float("inf"), 1),
        lambda: Prompt(),
        lambda: Prompt(box=Box(0, 0, 1, 1), label=""),
        lambda: Mask.from_array(np.zeros((2, 2), np.uint8), 1),
        lambda: Mask.from_array(np.zeros((2, 2, 1), np.bool_), 1),
        lambda: Mask.from_array(np.zeros((2, 2), np.bool_), float("nan")),
        lambda: Mask(np.zeros((2, 2), np.uint8), (2, 17), None, 1),
    ],
)
def test_an_invalid_value_cannot_be_created(make: object) -> None:
    with pytest.raises(ValueError, match=r"must|needs"):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat 1 [final].jpg", "cat 1 [final].jpg"),
        ("Gänse 鹅.png", "Gänse 鹅.png"),
        ("a\nb\x1b[31m", r"a\nb\x1b[31m"),
        ("abc\u202egpj", r"abc\u202egpj"),
        ("caf\udce9", r"caf\xe9"),
    ],
)
def test_control_characters_in_names_are_escaped(name: str, expected: str) -> None:
    assert printable(name) == expected


@given(st.text(st.characters()))
def test_any_name_can_be_shown_and_encoded(name: str) -> None:
    shown = printable(name)

    assert shown.isprintable()
    shown.encode("utf-8")
