"""POST /v1/segment: what comes in, what goes out, and what is refused."""

import base64
import gc
import hashlib
import io
import json
import zipfile
from typing import Any

import httpx
import numpy as np
import pytest
from opex import ObjectPredictions
from PIL import Image
from pycocotools import mask as coco
from support.folders import BOX
from support.http_serving import FORM, IMAGE, PROMPT, segment, served
from support.redis_serving import box_mask

from sampoll.core.jobs import Submission
from sampoll.transports.http import asking

DIGEST = hashlib.sha256(IMAGE).hexdigest()
IN_JSON = {"image": base64.b64encode(IMAGE).decode(), "prompt": BOX}


@pytest.fixture(scope="module")
def client() -> Any:
    with served(max_image_bytes=100_000, max_prompt_bytes=20_000) as client:
        yield client


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code and message of an answer that is an error."""
    document = answer.json()
    assert document["request_id"] == answer.headers["X-Request-ID"]
    return answer.status_code, document["code"], document["message"]


@pytest.mark.parametrize("body", [{"files": FORM, "data": PROMPT}, {"json": IN_JSON}])
def test_a_form_and_json_give_the_same_masks_as_runs_and_the_record(
    client: httpx.Client, body: dict[str, Any]
) -> None:
    answer = client.post("/v1/segment", **body)

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    document = answer.json()
    [[mask]] = document["masks"]
    np.testing.assert_array_equal(coco.decode(mask["rle"]), box_mask())
    assert document["image_sha256"] == answer.headers["X-Image-SHA256"] == DIGEST
    assert document["request_id"] == answer.headers["X-Request-ID"]
    record = ObjectPredictions.from_json_string(json.dumps(document["opex"]))
    assert [each.label for each in record.objects] == ["object"]


def test_a_prompt_may_be_a_file_of_the_form(client: httpx.Client) -> None:
    answer = segment(client, files={**FORM, "prompt": ("cat.json", json.dumps(BOX))}, data={})

    assert answer.status_code == 200


@pytest.mark.parametrize("charset", ["utf-7", "punycode", "unicode_escape", "utf-16", "no such one"])
def test_a_form_is_in_utf_8_whatever_it_says(client: httpx.Client, charset: str) -> None:
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + IMAGE,
        b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' + b"%s",
        b"--x--\r\n",
    ]
    headers = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    good, odd = (
        client.post("/v1/segment", content=b"\r\n".join(parts).replace(b"%s", prompt), headers=headers)
        for prompt in (json.dumps(BOX).encode(), b"+2AA-\\ud800")
    )

    assert good.status_code == 200
    assert refusal(odd)[:2] == (422, "bad-prompt")


def test_an_unknown_key_is_named_but_not_repeated_in_full(client: httpx.Client) -> None:
    answer = client.post("/v1/segment", json={"a" * 5000: 1})

    status, _, message = refusal(answer)
    assert (status, len(message) < 200) == (400, True)
    assert "a... is not known" in message or "a...: is not known" in message


def test_a_png_has_all_masks_in_one(client: httpx.Client) -> None:
    other = {"box": {"x0": 0, "y0": 0, "x1": 3, "y1": 3}}
    prompts = {"prompt": json.dumps({"prompts": [BOX, other]})}

    answer = segment(client, data=prompts, headers={"Accept": "image/png"})

    assert answer.headers["Content-Type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as mask:
        np.testing.assert_array_equal(np.asarray(mask), box_mask() | box_mask(other))


def test_an_archive_has_the_files_of_a_run_and_names_them_like_the_request(client: httpx.Client) -> None:
    headers = {"Accept": "application/zip", "X-Request-ID": "cat-1"}

    answer = segment(client, headers=headers)

    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["cat-1.png", "cat-1.json"]
        files = json.loads(json.loads(archive.read("cat-1.json"))["meta"]["files"])
        assert files == {"cat-1.png": hashlib.sha256(archive.read("cat-1.png")).hexdigest()}
    assert segment(client, headers=headers).headers["X-Request-ID"] == "cat-1"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("image/*", "image/png"),
        ("text/html, application/zip;q=0.5, image/png; q=0.4", "application/zip"),
        ("application/json;q=0, image/png;q=x, application/*", "application/zip"),
        ("application/json;q=0, */*", "image/png"),
        ("*/*;q=0.1, image/png", "image/png"),
        ("application/zip;q=0.9, application/json;q=1_0, image/png;q=inf", "application/zip"),
        ("image/png, application/json", "image/png"),
    ],
)
def test_the_answer_is_of_the_kind_that_the_client_prefers(
    client: httpx.Client, accept: str, kind: str
) -> None:
    assert segment(client, headers={"Accept": accept}).headers["Content-Type"] == kind


def test_an_id_that_cannot_be_a_file_name_is_replaced(client: httpx.Client) -> None:
    for bad in ("../cat", "", ".hidden", "x" * 101):
        assert segment(client, headers={"X-Request-ID": bad}).headers["X-Request-ID"] != bad


def test_a_known_image_needs_its_digest_only() -> None:
    with served() as client:
        question = {"image_sha256": DIGEST, "prompt": BOX}
        assert refusal(client.post("/v1/segment", json=question)) == (
            404,
            "image-unknown",
            "image_sha256: is not known here: send the image",
        )
        first = segment(client).json()

        again = client.post("/v1/segment", json=question).json()
        in_form = segment(client, files={"image_sha256": (None, DIGEST)}).json()

        assert again["masks"] == in_form["masks"] == first["masks"]
        assert again["image_sha256"] == DIGEST


def test_an_image_that_was_forgotten_is_asked_for() -> None:
    with served(embedding_memory=1000) as client:  # room for one
        segment(client)
        other = Image.open(io.BytesIO(IMAGE)).rotate(90)
        buffer = io.BytesIO()
        other.save(buffer, "PNG")
        segment(client, files={"image": ("b.png", buffer.getvalue())})

        answer = client.post("/v1/segment", json={"image_sha256": DIGEST, "prompt": BOX})

        assert refusal(answer)[:2] == (404, "image-unknown")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"files": FORM, "data": {}}, (400, "bad-request", "prompt: is missing")),
        ({"data": PROMPT, "files": {"x": (None, "1")}}, (400, "bad-request", "x: is not known")),
        ({"json": {"prompt": BOX}}, (400, "bad-request", 'needs "image", or "image_sha256"')),
        ({"json": {**IN_JSON, "image_sha256": DIGEST}}, (400, "bad-request", "not both")),
        ({"json": {"image_sha256": "ab", "prompt": BOX}}, (400, "bad-request", "64 lower-case")),
        ({"json": {**IN_JSON, "promt": 1}}, (400, "bad-request", "did you mean prompt?")),
        ({"json": {**IN_JSON, "image": "?"}}, (400, "bad-request", "image: is not base64")),
        (
            {"content": b'{"prompt": {}, "prompt": {}}', "headers": {"Content-Type": "application/json"}},
            (400, "bad-request", "prompt: is there twice in one object"),
        ),
        (
            {
                "content": b'{"prompt": {"box": {"x0": 1, "x0": 2}}}',
                "headers": {"Content-Type": "application/json"},
            },
            (400, "bad-request", "x0: is there twice in one object"),
        ),
        (
            {"files": FORM, "data": {"prompt": "x" * 20_001}},
            (422, "bad-prompt", "prompt: has 20001 bytes, more than 20000 (--max-prompt-bytes)"),
        ),
        ({"json": []}, (400, "bad-request", "must be a JSON object")),
        ({"json": {**IN_JSON, "prompt": {"bx": 1}}}, (422, "bad-prompt", "prompt: bx: is not a known key")),
        ({"files": {"image": ("a.jpg", b"text")}, "data": PROMPT}, (422, "bad-image", "image: is no image")),
        (
            {"files": {"image": ("a.jpg", b"x" * 100_001)}, "data": PROMPT},
            (422, "bad-image", "image: has 100001 bytes, more than 100000 (--max-image-bytes)"),
        ),
        (
            {"files": {"image": ("a.jpg", b"x" * 300_000)}, "data": PROMPT},
            (413, "bad-request", "the body has"),
        ),
        ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, (415, "bad-request", "Content-Type")),
        (
            {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
            (400, "bad-request", "the form cannot be read"),
        ),
        (
            {"content": b"{", "headers": {"Content-Type": "application/json"}},
            (400, "bad-request", "the request is not JSON"),
        ),
        (
            {"content": b"[" * 20_000_000, "headers": {"Content-Type": "application/json"}},
            (413, "bad-request", "the body has"),
        ),
        (
            {"content": iter([b"{}"]), "headers": {"Content-Type": "application/json"}},
            (411, "bad-request", "needs a Content-Length"),
        ),
        (
            {"files": FORM, "data": PROMPT, "headers": {"Accept": "text/html"}},
            (406, "bad-request", "there are answers as"),
        ),
    ],
)
def test_a_bad_request_is_refused_with_a_code_and_what_to_change(
    client: httpx.Client, request_: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    status, code, part = expected

    found = refusal(client.post("/v1/segment", **request_))

    assert found[:2] == (status, code)
    assert part in found[2]


def test_of_images_that_failed_only_those_at_work_are_kept(client: httpx.Client) -> None:
    gc.collect()
    gc.disable()
    try:
        for number in range(12):
            answer = segment(client, files={"image": ("a.jpg", b"no image %d" % number)})
            assert answer.status_code == 422
        assert sum(isinstance(each, Submission) for each in gc.get_objects()) < 6
    finally:
        gc.enable()


def test_other_paths_and_methods_are_refused_in_json(client: httpx.Client) -> None:
    assert refusal(client.get("/v1/nothing"))[0] == 404
    wrong_method = client.get("/v1/segment")
    assert (refusal(wrong_method)[0], wrong_method.headers["Allow"]) == (405, "POST")


def test_a_bug_is_answered_in_json_too(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(asking, "_submitted", fail)

    answer = segment(client, headers={"X-Request-ID": "cat-1"})

    assert refusal(answer)[:2] == (500, "internal-error")
    assert answer.headers["X-Request-ID"] == "cat-1"
    assert "secret" not in answer.text


def test_while_the_model_is_loaded_a_request_is_to_come_again() -> None:
    with served(loads=True) as client:
        answer = segment(client)

        assert refusal(answer)[:2] == (503, "overloaded")
        assert answer.headers["Retry-After"] == "1"
