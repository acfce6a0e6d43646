"""Labelling configurations of projects."""

import time

import pytest
from support.label_studio import CONFIG, POLYGONS

from sampoll.core.errors import BadPrompt, BadRequest
from sampoll.transports.http.label_studio.label_config import MAX_CHARACTERS, label_config

IMAGE = '<Image name="image" value="$image"/>'


def test_an_image_gets_the_first_control_of_masks_that_names_it() -> None:
    both = f"<View>{CONFIG}{POLYGONS.replace('brush', 'polygons')}</View>"

    images, control = label_config(both).for_image("image")

    assert (images.key, images.is_list) == ("image", False)
    assert (control.name, control.kind, control.is_brush) == ("brush", "brushlabels", True)
    assert control.labels == ["cat", "dog"]


def test_labels_may_be_in_other_tags_and_have_other_names() -> None:
    inside = '<View><Label value="a" alias="b"/></View><Label value="c"/>'
    xml = f'<View>{IMAGE}<PolygonLabels name="p" toName="other, image">{inside}</PolygonLabels></View>'

    _, control = label_config(xml).for_image("image")

    assert control.labels_of("b") == {"polygonlabels": ["b"]}
    with pytest.raises(BadPrompt, match=r"^label: a is not a label of 'p'"):
        control.labels_of("a")


def test_labels_that_are_not_fixed_may_be_any_and_controls_without_labels_have_none() -> None:
    free = f'<View>{IMAGE}<BrushLabels name="b" toName="image" value="$labels"/></View>'
    plain = f'<View>{IMAGE}<Brush name="b" toName="image"/></View>'

    assert label_config(free).for_image("image")[1].labels_of("any") == {"brushlabels": ["any"]}
    assert label_config(plain).for_image("image")[1].labels_of("any") == {}


def test_an_image_without_a_control_of_masks_is_named() -> None:
    config = label_config(f'<View><Image name="other" value="$other"/>{CONFIG}</View>')

    with pytest.raises(BadRequest, match=r"^other: has no such <Image>"):
        config.for_image("other")


def test_a_configuration_costs_little_however_it_is_nested() -> None:
    depth = MAX_CHARACTERS // len("<Brush></Brush>") - 10
    began = time.monotonic()

    with pytest.raises(BadRequest):
        label_config("<Brush>" * depth + "</Brush>" * depth)
    with pytest.raises(BadRequest):
        label_config(" " * MAX_CHARACTERS + CONFIG)

    assert time.monotonic() - began < 5
