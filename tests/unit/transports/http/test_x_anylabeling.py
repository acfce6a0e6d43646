"""The routes of a remote server, asked as X-AnyLabeling asks."""

import base64
import logging
from collections.abc import Iterator
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image
from support import segmenters
from support.http_serving import IMAGE, TOKEN, served
from support.images import encoded, image_of
from support.segmenters import KeptBoxes

from sampoll.core.jobs import RgbImage
from sampoll.core.results import BoolMask, Mask
from sampoll.transports.http import x_anylabeling

RECTANGLE = {"type": "rectangle", "data": [4, 4, 20, 16], "label": 1}
POINT = {"type": "point", "data": [10, 12], "label": 1}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with served() as client:
        yield client


def body_of(*marks: Any, image: bytes = IMAGE, **params: Any) -> dict[str, Any]:
    data_url = f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
    common = {"conf_threshold": 0.0, "iou_threshold": 0.0, "epsilon_factor": 0.001}
    return {
        "model": "support.fakes:kept",
        "image": data_url,
        "params": {**common, **params, **({"marks": list(marks)} if marks else {})},
    }


def predict(client: httpx.Client, body: Any, **more: Any) -> dict[str, Any]:
    """The answer, which is never one that costs shapes."""
    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = client.post("/x-anylabeling/v1/predict", **{**sent, **more})
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()
    assert document["data"]["replace"] is False
    assert document["data"]["description"] == ""
    return document


def filled(shape: dict[str, Any], height: int, width: int) -> BoolMask:
    assert shape["points"][0] == shape["points"][-1]
    points = np.array(shape["points"], np.int32)
    return cv2.fillPoly(np.zeros((height, width), np.uint8), [points], 1).astype(bool)


def test_a_rectangle_becomes_a_closed_polygon_of_the_mask(client: httpx.Client) -> None:
    document = predict(client, body_of(RECTANGLE))

    assert document["success"] is True
    [shape] = document["data"]["shapes"]
    expected = np.zeros((24, 32), np.bool_)
    expected[4:16, 4:20] = True
    np.testing.assert_array_equal(filled(shape, 24, 32), expected)
    assert {key: shape[key] for key in ("label", "shape_type", "score")} == {
        "label": "AUTOLABEL_OBJECT",
        "shape_type": "polygon",
        "score": 0.5,
    }


def test_each_rectangle_is_an_object_and_all_points_count_for_each(client: httpx.Client) -> None:
    other = {"type": "rectangle", "data": [31, 23, 25, 18], "label": 1}
    negative = {**POINT, "label": 0}

    shapes = predict(client, body_of(RECTANGLE, negative, other))["data"]["shapes"]

    assert len(shapes) == 2
    assert not filled(shapes[0], 24, 32)[0, 0]
    assert filled(shapes[1], 24, 32)[18, 25]


def test_without_marks_there_are_no_shapes(client: httpx.Client) -> None:
    assert predict(client, body_of())["data"]["shapes"] == []


def test_a_point_at_the_edge_is_inside_and_a_single_pixel_is_no_polygon(client: httpx.Client) -> None:
    document = predict(client, body_of({"type": "point", "data": [32, 24], "label": 1}))

    assert (document["success"], document["data"]["shapes"]) == (True, [])


def test_a_known_image_is_not_embedded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    embedded: list[int] = []
    original = KeptBoxes.embed

    def counted(self: KeptBoxes, images: list[RgbImage]) -> list[RgbImage]:
        embedded.append(len(images))
        return original(self, images)

    monkeypatch.setattr(KeptBoxes, "embed", counted)
    with served() as client:
        for x in (10, 11, 12):
            predict(client, body_of(RECTANGLE, {**POINT, "data": [x, 12]}))

    assert embedded == [1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_marks_and_shapes_are_those_of_the_image_as_it_is_stored(
    client: httpx.Client, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = encoded(image_of(), "JPEG", exif=exif)
    box, point = (3, 4, 13, 20), {"type": "point", "data": [20, 10], "label": 1}
    around = [{"type": "rectangle", "data": [18, 8, 24, 14], "label": 1}]

    [shape] = predict(client, body_of({**RECTANGLE, "data": list(box)}, image=image))["data"]["shapes"]
    [holed] = predict(client, body_of(*around, {**point, "label": 0}, image=image))["data"]["shapes"]

    expected = np.zeros((24, 32), np.bool_)
    expected[4:20, 3:13] = True
    np.testing.assert_array_equal(filled(shape, 24, 32), expected)
    expected[:] = False
    expected[8:14, 18:24] = True  # the point makes a hole, which a polygon of X-AnyLabeling has not
    np.testing.assert_array_equal(filled(holed, 24, 32), expected)


def test_with_exif_ignored_nothing_is_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with served(exif="ignore") as client:
        body = body_of(RECTANGLE, image=encoded(image_of(), "JPEG", exif=exif))
        [shape] = predict(client, body)["data"]["shapes"]

    assert filled(shape, 24, 32)[4:16, 4:20].all()


def test_words_are_taken_by_models_that_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(image: RgbImage, words: list[str], score_thresh: float) -> list[Mask]:
        return [Mask.from_array(image[..., 0] >= 0, 0.9)] if score_thresh <= 0.9 else []

    monkeypatch.setattr(segmenters, "_rows_of_words", found)
    with served(model="words") as client:
        [model] = client.get("/x-anylabeling/v1/models").json()["data"].values()
        shapes = predict(client, body_of(text_prompt="cat"))["data"]["shapes"]
        none = predict(client, body_of(text_prompt="cat", conf_threshold=0.95))["data"]["shapes"]

    assert model["batch_processing_mode"] == "text_prompt"
    assert {"edit_text", "button_send"} <= {each["name"] for each in model["widgets"]}
    assert [each["label"] for each in shapes] == ["cat"]
    assert none == []


def test_the_model_is_listed_with_its_widgets_also_while_it_is_loaded() -> None:
    with served(loads=True) as client:
        document = client.get("/x-anylabeling/v1/models").json()
        refused = predict(client, body_of(RECTANGLE))

    assert list(document["data"]) == ["support.fakes:kept"]
    model = document["data"]["support.fakes:kept"]
    widgets = {each["name"]: each["value"] for each in model["widgets"]}
    assert {"button_add_point", "button_remove_point", "button_add_rect", "button_finish_object"} < set(
        widgets
    )
    assert widgets["toggle_preserve_existing_annotations"] is True
    assert model["batch_processing_mode"] is None
    assert (refused["success"], refused["error"]["code"]) == (False, "overloaded")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the request is not JSON"),
        (b"[]", "as X-AnyLabeling sends it"),
        (b"{}", "must be an image file in base64"),
        (body_of(RECTANGLE, image=b"no image"), "is no image that can be read"),
        (body_of(RECTANGLE, image=IMAGE[:100]), "image"),
        (body_of({"type": "point", "data": [1], "label": 1}), "marks: must have 2 numbers"),
        (body_of({"type": "rectangle", "data": [1, 2, 3, "4"]}), "marks: must have 4 numbers"),
        (body_of({"type": "rectangle", "data": [5, 5, 5, 9]}), "x0 must be less than x1"),
        (body_of(text_prompt="cat"), "is not taken by --model"),
    ],
)
def test_an_error_costs_no_shapes_and_is_logged(
    client: httpx.Client, body: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        document = predict(client, body)

    assert (document["success"], document["data"]["shapes"]) == (False, [])
    assert message in document["error"]["message"]
    assert message in caplog.text


def test_a_bug_of_ours_costs_no_shapes_either(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(x_anylabeling, "_asked_in", broken)

    assert predict(client, body_of(RECTANGLE))["error"]["code"] == "internal-error"


def test_the_token_is_needed_and_a_wrong_one_costs_no_shapes() -> None:
    right = {"Token": TOKEN}
    with served(http_token=TOKEN, max_image_bytes=100_000) as client:
        for headers in ({}, {"Token": "wrong"}, {"Authorization": f"Bearer {TOKEN}"}):
            assert client.get("/x-anylabeling/v1/models", headers=headers).status_code == 401
            assert predict(client, body_of(RECTANGLE), headers=headers)["error"]["code"] == "unauthorized"
        assert client.get("/x-anylabeling/v1/models", headers=right).status_code == 200
        assert predict(client, body_of(RECTANGLE), headers=right)["success"] is True
        too_large = predict(client, body_of(image=b"x" * 20_000_000), headers=right)
        assert "more than" in too_large["error"]["message"]
