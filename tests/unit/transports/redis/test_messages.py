"""Messages over Redis: requests with any content, and replies that the oldest clients understand."""

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.images import encoded, image_of

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadPrompt, BadRequest
from sampoll.transports.redis.messages import (
    Answer,
    Request,
    error_message,
    parse_request,
    reply_message,
    request_message,
)
from sampoll.transports.redis.replies import NoReply, parse_reply

IMAGE = encoded(image_of(), "JPEG")
LIMITS = LimitSettings(max_image_bytes=10**6, max_prompt_bytes=10**5)


def parsed(message: bytes, limits: LimitSettings = LIMITS) -> Request:
    request = parse_request(message, limits)
    assert request is not None
    return request


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["image", "prompt", "id", "reply_to", "files", "else"])


@given(st.binary(max_size=200) | st.dictionaries(KEYS, JSON).map(lambda d: json.dumps(d).encode()))
def test_any_message_becomes_a_request_that_can_be_replied_to(message: bytes) -> None:
    request = parsed(message)

    error = request.error or BadPrompt("is bad")
    reply = parse_reply(error_message(request, error, b"png", {}))

    assert reply.error == str(error)
    assert (reply.id, reply.contours, reply.mask) == (request.id, [], b"png")


@given(st.binary(max_size=300), JSON, st.text(min_size=1, max_size=20))
def test_a_request_is_read_as_it_was_sent(image: bytes, prompt: Any, name: str) -> None:
    sent = request_message(image, prompt, id=name, reply_to="there", files=True)

    request = parsed(sent)

    assert json.loads(request.prompt) == prompt
    assert request == Request(image, request.prompt, name, "there", True, None)


@pytest.mark.parametrize("newline", ["\n", "\r\n", " "])
def test_base64_may_contain_line_breaks(newline: str) -> None:
    text = newline.join(base64.encodebytes(IMAGE).decode().split("\n"))

    assert parsed(json.dumps({"image": text, "prompt": {}}).encode()).image == IMAGE


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "image: must be an image file in base64"),
        ({"image": "AAAA"}, "prompt: is missing"),
        ({"image": "A", "prompt": 1}, "image: is not base64: "),
        ({"image": "é", "prompt": 1}, "image: is not base64: "),
        ({"image": "A" * 20_000, "prompt": 1}, r"has 15000 bytes, more than 10000 \(--max-image-bytes\)"),
        (
            {"image": "", "prompt": 1, "id": 1.5},
            "id: must be a string of 1 to 1000 characters, or an integer",
        ),
        ({"image": "", "prompt": 1, "id": True}, "id: must be a string"),
        ({"image": "", "prompt": 1, "id": ""}, "id: must be a string"),
        ({"image": "", "prompt": 1, "reply_to": 3}, "reply_to: must be a channel's name of 1 to 500"),
    ],
)
def test_the_error_of_a_bad_request_names_the_field(document: dict[str, Any], message: str) -> None:
    error = parsed(json.dumps(document).encode(), LimitSettings(max_image_bytes=10_000)).error

    assert error is not None
    with pytest.raises(type(error), match=message):
        raise error


def test_the_error_of_a_bad_request_goes_to_its_reply_to() -> None:
    request = parsed(b'{"id": 7, "reply_to": "me", "prompt": {"a": 1}}')

    assert request.error is not None
    assert (request.id, request.reply_to, request.prompt) == (7, "me", b'{"a":1}')


@pytest.mark.parametrize("listed", [7, ["bad"], [{}], {"message": "bad"}])
def test_skipped_prompts_of_another_form_are_passed_over(listed: object) -> None:
    reply = {"contours": [], "mask": "", "meta": {"skipped_prompts": listed}}

    assert parse_reply(json.dumps(reply).encode()).skipped_prompts == []


def test_a_reply_has_the_old_keys_and_the_new_ones() -> None:
    answer = Answer(b"[[[1,2],[3,4],[5,0]]]", b"mask" * 30, b'{"objects":[]}', {".png": b"m", ".json": b"j"})

    reply = json.loads(reply_message(Request(prompt=b'{"box": 1}'), answer, {"type": "sam"}))
    more = json.loads(reply_message(Request(id=3, reply_to="me", wants_files=True), answer, {}))

    assert reply == {
        "contours": [[[1, 2], [3, 4], [5, 0]]],
        "mask": base64.encodebytes(b"mask" * 30).decode(),
        "meta": {"segmenter": {"type": "sam"}, "prompt": {"box": 1}},
        "opex": {"objects": []},
    }
    assert (more["id"], more["reply_to"]) == (3, "me")
    assert {suffix: base64.b64decode(content) for suffix, content in more["files"].items()} == answer.files


# Hostile messages


@pytest.mark.parametrize(
    "prompt",
    [
        b"not json {",
        b'null}, "meta":{}, "x":{"y":0',
        b'0},"x":{"y":0',
        b"",
        b"\xff",
        b"NaN",
        b"[" * 300 + b"]" * 300,
        b"1 " * (2**20),
    ],
)
def test_a_prompt_cannot_change_the_rest_of_its_reply(prompt: bytes) -> None:
    request, error = Request(prompt=prompt), BadPrompt("is bad")

    failed = json.loads(error_message(request, error, b"png", {}))
    done = json.loads(reply_message(request, Answer(b"[]", b"mask", b"{}", {}), {}))

    assert failed["meta"] == {
        "segmenter": {},
        "prompt": None,
        "error": "is bad",
        "error_code": "bad-prompt",
    }
    assert done.keys() == {"contours", "mask", "meta", "opex"}
    assert done["meta"] == {"segmenter": {}, "prompt": None}


@pytest.mark.parametrize("depth", range(240, 256))
def test_a_reply_can_be_read_however_deep_its_prompt_is(depth: int) -> None:
    prompt = json.dumps(nested(depth)).encode()

    reply = parse_reply(error_message(Request(prompt=prompt), BadRequest("no"), b"", {}))

    assert reply.error == "no"


def test_a_byte_order_mark_is_no_part_of_a_prompt() -> None:
    reply = json.loads(error_message(Request(prompt=b'\xef\xbb\xbf{"box": 1}'), BadPrompt("x"), b"png", {}))

    assert reply["meta"]["prompt"] == {"box": 1}


@pytest.mark.parametrize("request_", [Request(), Request(id="a", reply_to="in", wants_files=True)])
def test_a_reply_is_no_request(request_: Request) -> None:
    answer = Answer(b"[]", b"mask", b"{}", {".png": b"m", ".json": b"j"})

    assert parse_request(reply_message(request_, answer, {}), LIMITS) is None
    assert parse_request(error_message(request_, BadPrompt("x"), b"png", {}), LIMITS) is None


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b'{"reply_to": "me", "prompt": [' + b"[1,1]," * 200_000 + b"1]}", "commas and opening brackets"),
        (b'{"reply_to": "me", "image": "' + b"A" * 2_000_000 + b'"}', "the request has 2000031 bytes"),
        (b'{"reply_to": "me", "image": "QUJD", "prompt": "' + b"A" * 200_000 + b'"}', "has 200002 bytes"),
    ],
)
def test_a_request_that_is_too_large_is_refused_with_a_reply(message: bytes, said: str) -> None:
    request = parsed(message)

    assert request.reply_to == "me"
    assert said in str(request.error)


def test_a_message_that_is_cut_off_is_answered_where_it_asks_for_it() -> None:
    assert parsed(b'{"reply_to": "m\\u0065", "image": "QUJ').reply_to == "me"
    assert parsed(b'{"reply_to": "", "image": "QUJ').reply_to is None
    assert parsed(b'{"reply_to": "\\q", "image": "QUJ').reply_to is None


def test_an_image_may_be_a_data_url() -> None:
    url = "data:image/jpeg;base64," + base64.b64encode(IMAGE).decode()

    assert parsed(json.dumps({"image": url, "prompt": {}}).encode()).image == IMAGE


GOOD: dict[str, Any] = {
    "contours": [[[1, 2], [3.5, 4], [5, 0]]],
    "mask": base64.encodebytes(b"mask").decode(),
    "meta": {},
    "opex": {"objects": []},
    "files": {".png": "QUJD"},
    "id": "a",
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"contours": 1}, "contours"),
        ({"contours": [1]}, "contours"),
        ({"contours": [[1]]}, "contours"),
        ({"contours": [[[1, 2, 3]]]}, "contours"),
        ({"contours": [[["1", 2]]]}, "contours"),
        ({"contours": [[[True, 2]]]}, "contours"),
        ({"contours": [[[10**12, 2]]]}, "contours"),
        ({"mask": 3}, "mask"),
        ({"mask": "!"}, "mask: is not base64"),
        ({"mask": "é"}, "mask: is not base64"),
        ({"meta": [1]}, "meta"),
        ({"meta": {"error": 5}}, "meta"),
        ({"meta": {"error_code": []}}, "meta"),
        ({"opex": [1]}, "opex"),
        ({"opex": "x"}, "opex"),
        ({"opex": {"deep": nested(300)}}, "Recursion limit"),
        ({"meta": {"deep": nested(300)}}, "Recursion limit"),
        ({"files": []}, "files"),
        ({"files": {".png": 1}}, "files"),
        ({"files": {".png": "!"}}, "files: .png: is not base64"),
    ],
)
def test_a_reply_with_a_value_of_another_type_raises_no_reply(change: dict[str, Any], said: str) -> None:
    assert parse_reply(json.dumps(GOOD).encode()).mask == b"mask"

    with pytest.raises(NoReply, match=said) as raised:
        parse_reply(json.dumps({**GOOD, **change}).encode())

    assert raised.value.id == "a"


@given(st.binary(max_size=200) | st.dictionaries(st.sampled_from([*GOOD, "else"]), JSON).map(json.dumps))
def test_any_message_is_a_reply_or_raises_no_reply(message: bytes | str) -> None:
    with suppress(NoReply):
        parse_reply(message.encode() if isinstance(message, str) else message)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"contours": [], "mask": 3}',
        b'"text"',
        b'{"id": [], "contours": [], "mask": ""}',
        b'{"id": true, "contours": [], "mask": ""}',
        b'{"contours": [], "mask": ""} {',
    ],
)
def test_a_message_that_is_no_reply_raises_no_reply(message: bytes) -> None:
    with pytest.raises(NoReply, match="a message that is no reply"):
        parse_reply(message)


@pytest.mark.parametrize(
    "more", [{"id": []}, {"id": True}, {"id": 1.5}, {"id": ""}, {"reply_to": 3}, {"reply_to": ""}]
)
def test_keys_that_an_old_client_uses_for_something_else_are_ignored(more: dict[str, Any]) -> None:
    message = json.dumps({"image": "QUJD", "prompt": {}, **more}).encode()

    request = parse_request(message, LIMITS, is_old=True)

    assert request == Request(image=b"ABC", prompt=b"{}")
    assert parsed(message).error is not None


def test_ids_and_channels_that_fit_are_used_for_old_clients_too() -> None:
    message = json.dumps({"image": "QUJD", "prompt": {}, "id": 7, "reply_to": "mine", "files": True}).encode()

    assert parse_request(message, LIMITS, is_old=True) == parsed(message)


def test_characters_that_are_no_base64_are_passed_over_for_old_clients() -> None:
    message = json.dumps({"image": "<QU-JD>\n", "prompt": {}}).encode()

    request = parse_request(message, LIMITS, is_old=True)

    assert request is not None
    assert (request.image, request.error) == (b"ABC", None)
    assert parsed(message).error is not None


def test_the_image_of_a_request_is_one_line_of_base64() -> None:
    message = json.loads(request_message(bytes(1000), {}))

    assert base64.b64decode(message["image"], validate=True) == bytes(1000)


@pytest.mark.parametrize("sent", [{}, {"prompt": None}])
def test_an_image_without_a_prompt_gets_the_default_one(sent: dict[str, None]) -> None:
    message = json.dumps({"image": "AAAA", **sent}).encode()

    with_default = parse_request(message, LIMITS, default_prompt=b'{"everything": {}}')

    assert with_default is not None
    assert (with_default.prompt, with_default.error) == (b'{"everything": {}}', None)


def test_a_prompt_of_its_own_is_kept_beside_a_default_one() -> None:
    message = json.dumps({"image": "AAAA", "prompt": {"text": "cat"}}).encode()

    request = parse_request(message, LIMITS, default_prompt=b'{"everything": {}}')

    assert request is not None
    assert json.loads(request.prompt) == {"text": "cat"}
