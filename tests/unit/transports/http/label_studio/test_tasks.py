"""Regions of Label Studio as prompts."""

import math

import pytest
from support.label_studio import region

from sampoll.core.errors import BadPrompt
from sampoll.transports.http.label_studio.tasks import prompt_of_user

SIZE = (100, 200)


def document(*drawn: dict[str, object]) -> dict[str, object]:
    asked = prompt_of_user(drawn)
    assert asked is not None
    [prompt] = asked.prompts
    return dict(prompt.document(SIZE))


def test_places_are_in_pixels_and_inside_the_image() -> None:
    at = {"x": 100, "y": 100.2, "width": 1}
    drawn = region("keypointlabels", at, SIZE, is_positive=False)

    assert document(drawn) == {"label": "cat", "points": [{"x": 199, "y": 99, "label": 0}]}


def test_of_several_boxes_the_last_one_counts() -> None:
    first, last = ({"x": x, "y": 10, "width": 20, "height": 30, "rotation": 0} for x in (0, 90))

    box = document(region("rectanglelabels", first, SIZE), region("rectanglelabels", last, SIZE))["box"]

    assert box == {"x0": 180, "y0": 10, "x1": 200, "y1": 40}


def test_a_turned_box_is_the_box_around_it() -> None:
    turned = {"x": 50, "y": 50, "width": 10, "height": 20, "rotation": 90}

    box = document(region("rectanglelabels", turned, SIZE))["box"]

    # In pixels: from (100, 50), 20 wide and 20 high, turned clockwise around that corner.
    assert isinstance(box, dict)
    assert {key: round(value, 6) for key, value in box.items()} == {"x0": 80, "y0": 50, "x1": 100, "y1": 70}


def test_prompts_of_controls_without_labels_have_none() -> None:
    drawn = region("keypoint", {"x": 1, "y": 1, "width": 1, "keypoint": None}, SIZE, is_positive=True)

    assert "label" not in document(drawn)


@pytest.mark.parametrize("wrong", [None, "1", True, math.inf])
def test_a_place_that_is_no_number_is_refused(wrong: object) -> None:
    drawn = region("keypointlabels", {"x": wrong, "y": 1, "width": 1}, SIZE, is_positive=True)

    with pytest.raises(BadPrompt, match=r"value\.x: must be a number"):
        prompt_of_user([drawn])
