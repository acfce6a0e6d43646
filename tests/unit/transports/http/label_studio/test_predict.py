"""The routes of an ML backend, asked as Label Studio asks."""

import logging
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from support.http_serving import TOKEN, served
from support.images import encoded, image_of, turned_image
from support.label_studio import (
    CONFIG,
    KEY,
    POLYGONS,
    FakeLabelStudio,
    alpha_of,
    label_studio,
    predict_body,
    region,
    task,
)

from sampoll.transports.http.label_studio import routes

SIZE = (24, 32)
BOX = {"x": 12.5, "y": 12.5, "width": 50, "height": 25, "rotation": 0}
DRAWN = region("rectanglelabels", BOX, SIZE)
BOX_PIXELS = (slice(3, 9), slice(4, 20))
IMAGE = encoded(image_of(*SIZE), "JPEG")


@pytest.fixture(scope="module")
def studio() -> Iterator[FakeLabelStudio]:
    with label_studio(**{"cat.jpg": IMAGE, "turned.jpg": turned_image(*SIZE)}) as studio:
        yield studio


@pytest.fixture(scope="module")
def client(studio: FakeLabelStudio) -> Iterator[httpx.Client]:
    with served(label_studio_url=studio.url, label_studio_api_key=KEY) as client:
        yield client


def predict(client: httpx.Client, *tasks: Any, **more: Any) -> list[Any]:
    answer = client.post("/label-studio/predict", json=predict_body(list(tasks), **more))
    assert answer.status_code == 200, answer.text
    results: list[Any] = answer.json()["results"]
    return results


def test_a_box_becomes_a_brush_of_exactly_the_mask(client: httpx.Client) -> None:
    [entry] = predict(client, task(7), drawn=[DRAWN])

    [brush] = entry["result"]
    assert (entry["score"], entry["model_version"]) == (0.5, "support.fakes:kept")
    value = brush.pop("value")
    assert len(brush.pop("id")) == 10
    assert brush == {
        "from_name": "brush",
        "to_name": "image",
        "type": "brushlabels",
        "original_width": 32,
        "original_height": 24,
        "image_rotation": 0.0,
        "score": 0.5,
    }
    assert (value["format"], value["brushlabels"]) == ("rle", ["cat"])
    expected = np.zeros(SIZE, np.int64)
    expected[BOX_PIXELS] = 255
    np.testing.assert_array_equal(alpha_of(value["rle"], SIZE), expected)


def test_a_polygon_follows_the_edges_of_pixels_in_per_cent(client: httpx.Client) -> None:
    [entry] = predict(client, task(7), drawn=[DRAWN], config=POLYGONS)

    [polygon] = entry["result"]
    assert (polygon["type"], polygon["from_name"]) == ("polygonlabels", "brush")
    assert polygon["value"]["closed"] is True
    assert polygon["value"]["polygonlabels"] == ["cat"]
    corners = {tuple(point) for point in polygon["value"]["points"]}
    assert corners == {(12.5, 12.5), (62.5, 12.5), (62.5, 37.5), (12.5, 37.5)}


def test_points_are_one_object_and_those_without_a_sign_are_no_prompts(client: httpx.Client) -> None:
    at = {"x": 50, "y": 50, "width": 0.5}
    drawn = [
        region("keypointlabels", {**at, "x": 10}, SIZE),
        region("keypointlabels", at, SIZE, is_positive=True),
        region("keypointlabels", {**at, "x": 25}, SIZE, is_positive=False),
    ]
    [entry] = predict(client, task(7), drawn=drawn)

    [brush] = entry["result"]
    expected = np.zeros(SIZE, np.int64)
    expected[12, 16] = 255
    np.testing.assert_array_equal(alpha_of(brush["value"]["rle"], SIZE), expected)


@pytest.mark.parametrize(
    "drawn",
    [
        [],
        [region("keypointlabels", {"x": 50, "y": 50, "width": 1}, SIZE)],
        [region("rectanglelabels", BOX, SIZE, origin="prediction")],
    ],
)
def test_what_is_no_prompt_any_more_is_answered_with_one_empty_entry(
    client: httpx.Client, drawn: list[Any]
) -> None:
    assert predict(client, task(7), drawn=drawn) == [
        {"result": [], "score": 0.0, "model_version": "support.fakes:kept"}
    ]


def test_an_image_is_fetched_once_for_all_prompts(studio: FakeLabelStudio) -> None:
    studio.files["/data/upload/1/once.jpg"] = IMAGE
    with served(label_studio_url=studio.url, label_studio_api_key=KEY) as client:
        for _ in range(3):
            predict(client, task(7, "/data/upload/1/once.jpg"), drawn=[DRAWN])

    assert studio.asked.count("/data/upload/1/once.jpg") == 1


def test_a_turned_image_is_answered_as_the_browser_shows_it(client: httpx.Client) -> None:
    shown = (32, 24)
    [entry] = predict(
        client, task(7, "/data/upload/1/turned.jpg"), drawn=[region("rectanglelabels", BOX, shown)]
    )

    [brush] = entry["result"]
    assert (brush["original_width"], brush["original_height"]) == (24, 32)
    expected = np.zeros(shown, np.int64)
    expected[4:12, 3:15] = 255
    np.testing.assert_array_equal(alpha_of(brush["value"]["rle"], shown), expected)


def test_an_image_that_is_shown_otherwise_than_it_is_segmented_is_refused(studio: FakeLabelStudio) -> None:
    with served(label_studio_url=studio.url, label_studio_api_key=KEY, exif="ignore") as client:
        turned = client.post(
            "/label-studio/predict",
            json=predict_body([task(7, "/data/upload/1/turned.jpg")], [DRAWN]),
        )
        other = client.post(
            "/label-studio/predict",
            json=predict_body([task(7)], [region("rectanglelabels", BOX, (48, 64))]),
        )

    assert (turned.status_code, other.status_code) == (422, 422)
    assert "leave out --exif ignore" in turned.json()["message"]
    assert "is 32x24, and Label Studio shows one of 64x48" in other.json()["message"]


def test_a_batch_has_an_entry_for_each_task_also_for_those_that_fail(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    dog = region("rectanglelabels", {**BOX, "rectanglelabels": ["dog"]}, SIZE)
    cow = region("rectanglelabels", {**BOX, "rectanglelabels": ["cow"]}, SIZE)
    point = region("keypointlabels", {"x": 50, "y": 50, "width": 1}, SIZE)
    cancelled = {"id": 4, "was_cancelled": True, "result": [cow]}
    older, newer = {"id": 1, "result": [cow]}, {"id": 2, "result": [DRAWN, dog, point]}
    with caplog.at_level(logging.WARNING):
        entries = predict(
            client,
            task(1),
            task(2, predictions=[newer, older]),
            task(3, "/data/upload/1/gone.jpg", predictions=[newer]),
            task(4, predictions=[older]),
            task(5, annotations=[cancelled, {"id": 1, "result": [dog]}]),
            task(6, predictions=[{"id": 1, "result": [{"type": "rectanglelabels", "value": {"x": "a"}}]}]),
        )

    assert [entries[number] for number in (0, 2, 3, 5)] == [[], [], [], []]  # no prediction is stored
    labels = [[each["value"]["brushlabels"][0] for each in entries[n]["result"]] for n in (1, 4)]
    assert labels == [["cat", "dog", "cat"], ["dog"]]
    assert "/data/upload/1/gone.jpg: Label Studio does not have it (status 404)" in caplog.text
    assert "task 4: label: cow is not a label of 'brush'" in caplog.text
    assert "task 6: " in caplog.text


def test_a_batch_of_which_nothing_can_be_done_is_an_error(client: httpx.Client) -> None:
    tasks = [task(n, "/data/upload/1/gone.jpg", predictions=[{"result": [DRAWN]}]) for n in (1, 2)]

    answer = client.post("/label-studio/predict", json=predict_body(tasks))

    assert answer.status_code == 422
    assert "does not have it" in answer.json()["message"]


def test_the_image_of_a_list_is_that_of_the_region(client: httpx.Client) -> None:
    config = CONFIG.replace('value="$image"', 'valueList="$images"')
    listed = {**task(7), "data": {"images": ["/data/upload/1/gone.jpg", "/data/upload/1/cat.jpg"]}}

    [entry] = predict(client, listed, drawn=[{**DRAWN, "item_index": 1}], config=config)

    assert [each["item_index"] for each in entry["result"]] == [1]


def test_health_setup_and_versions_need_no_model(studio: FakeLabelStudio) -> None:
    with served(loads=True, label_studio_url=studio.url) as client:
        assert client.get("/label-studio/health").json()["status"] == "UP"
        setup = client.post("/label-studio/setup", json={"project": "1.2", "schema": CONFIG})
        assert setup.json() == {"model_version": "support.fakes:kept"}
        assert client.get("/label-studio/versions").json() == {"versions": ["support.fakes:kept"]}
        loading = client.post("/label-studio/predict", json=predict_body([task(7)], [DRAWN]))
        assert (loading.status_code, loading.json()["code"]) == (503, "overloaded")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ('<View><Image name="image" value="$image"/></View>', "needs an <Image>"),
        ("<View><Image", "is not XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>', "must be the labelling configuration"),
        (None, "must be the labelling configuration"),
    ],
)
def test_a_project_that_cannot_have_masks_is_refused_when_it_is_connected(
    client: httpx.Client, schema: str | None, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = client.post("/label-studio/setup", json={"project": "1.2", "schema": schema})

    assert answer.status_code == 400
    assert message in answer.json()["message"]
    assert f"Label Studio: project 1.2: label_config: {message}" in caplog.text


def test_without_the_address_of_label_studio_a_project_is_refused() -> None:
    with served() as client:
        answer = client.post("/label-studio/setup", json={"schema": CONFIG})

    assert answer.status_code == 400
    assert "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY" in answer.json()["message"]


def test_the_password_is_the_token_of_the_service(studio: FakeLabelStudio) -> None:
    with served(http_token=TOKEN, label_studio_url=studio.url) as client:
        for path in ("health", "versions"):
            wrong = [None, ("user", "wrong"), ("user", "ü" * 20)]
            for auth in wrong:
                refused = client.get(f"/label-studio/{path}", auth=auth)
                assert refused.status_code == 401
                assert refused.headers["WWW-Authenticate"] == 'Basic realm="sampoll"'
            assert client.get(f"/label-studio/{path}", auth=("anyone", TOKEN)).status_code == 200
        assert (
            client.get("/label-studio/health", headers=[(b"Authorization", b"Basic \xa7")]).status_code == 401
        )
        assert client.post("/label-studio/predict", json={}, auth=("user", "wrong")).status_code == 401
        assert client.post("/label-studio/webhook", json={"action": "PROJECT_UPDATED"}).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"tasks": []}', b'{"tasks": [1]}', b'{"tasks": "a"}'])
def test_what_label_studio_does_not_send_is_refused_and_logged(
    client: httpx.Client, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = client.post("/label-studio/predict", content=body)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad-request")
    assert f"Label Studio: request {answer.headers['X-Request-ID']}: " in caplog.text


def test_a_batch_is_answered_in_time_with_what_is_done(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(routes, "ANSWER_SECONDS", 1.5)
    detected = [{"id": 1, "result": [DRAWN]}]

    with caplog.at_level(logging.WARNING):
        one, late = predict(client, task(1, predictions=detected), task(2, "/slow", predictions=detected))

    assert (len(one["result"]), late) == (1, [])
    assert "task 2: was not done within 1.5 s: ask for fewer tasks at a time" in caplog.text
