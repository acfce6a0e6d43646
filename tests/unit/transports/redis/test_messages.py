"""What goes over Redis: requests, whatever they are, and replies that the oldest clients understand."""

import base64
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.images import encoded, image_of

from sampoll.config.settings import LimitSettings
from sampoll.core.errors import BadPrompt, BadRequest
from sampoll.transports.redis.messages import (
    Answer,
    Request,
    error_message,
    parse_reply,
    parse_request,
    reply_message,
    request_message,
)

IMAGE = encoded(image_of(), "JPEG")
LIMIT = LimitSettings(max_image_bytes=10_000)

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
def test_whatever_comes_is_a_request_to_which_a_reply_can_be_made(message: bytes) -> None:
    request = parse_request(message, LIMIT)

    error = request.error or BadPrompt("is bad")
    reply = parse_reply(error_message(request, error, b"png", {}))

    assert reply.error == str(error)
    assert (reply.id, reply.contours, reply.mask) == (request.id, [], b"png")


@given(st.binary(max_size=300), JSON, st.text(min_size=1, max_size=20))
def test_a_request_comes_as_it_was_sent(image: bytes, prompt: Any, name: str) -> None:
    sent = request_message(image, prompt, id=name, reply_to="there", files=True)

    request = parse_request(sent, LIMIT)

    assert json.loads(request.prompt) == prompt
    assert request == Request(image, request.prompt, name, "there", True, None)


@pytest.mark.parametrize("newline", ["\n", "\r\n", " "])
def test_base64_may_come_in_lines(newline: str) -> None:
    text = newline.join(base64.encodebytes(IMAGE).decode().split("\n"))

    assert parse_request(json.dumps({"image": text, "prompt": {}}).encode(), LIMIT).image == IMAGE


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
def test_what_is_wrong_with_a_request_is_said_by_field(document: dict[str, Any], message: str) -> None:
    error = parse_request(json.dumps(document).encode(), LIMIT).error

    assert error is not None
    with pytest.raises(type(error), match=message):
        raise error


@pytest.mark.parametrize("values", [b"[1,1],", b"1,", b"{},", b'{"a":'])
def test_a_request_of_millions_of_values_is_not_parsed(values: bytes) -> None:
    message = b'{"prompt": [' + values * 2**20 + b"1]}"
    tracemalloc.start()

    error = parse_request(message, LIMIT).error

    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(error, BadRequest)
    assert "commas and opening brackets, more than 10000 prompts" in str(error)
    assert most < 2**20


def test_a_bad_request_with_an_address_is_answered_there() -> None:
    request = parse_request(b'{"id": 7, "reply_to": "me", "prompt": {"a": 1}}', LIMIT)

    assert request.error is not None
    assert (request.id, request.reply_to, request.prompt) == (7, "me", b'{"a":1}')


def test_a_reply_has_the_keys_of_old_and_what_is_new_beside_them() -> None:
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


@pytest.mark.parametrize("message", [b"{", b"[]", b"{}", b'{"contours": [], "mask": 3}', b'"text"'])
def test_what_is_no_reply_is_a_value_error(message: bytes) -> None:
    with pytest.raises(ValueError, match="a message that is no reply"):
        parse_reply(message)
