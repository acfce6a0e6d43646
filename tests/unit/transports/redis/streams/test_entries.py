"""Entries of a stream as anybody may put them in: each is a request, or says what is wrong with it."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.images import encoded, image_of

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadImage, UnreadableInput
from sampoll.transports.redis.streams.entries import Content, Fields, content_of

IMAGE = encoded(image_of(), "JPEG")
LIMITS = LimitSettings(max_image_bytes=10**6, max_prompt_bytes=1000)
PROMPT = b'{"box": {"x0": 1, "y0": 1, "x1": 5, "y1": 5}}'


def content(fields: Fields, root: Path | None = None) -> Content:
    return content_of("7-0", fields, root, LIMITS)


@given(
    st.dictionaries(st.sampled_from([b"id", b"image", b"path", b"prompt", b"\xff"]), st.binary(max_size=50))
)
def test_any_entry_becomes_a_request_with_a_name(fields: dict[bytes, bytes]) -> None:
    request = content(fields, Path("/nowhere")).request

    json.dumps(request.id).encode()
    assert request.id
    str(request.error).encode()


def test_the_sender_names_the_job_and_else_its_entry_does() -> None:
    assert content({b"image": IMAGE, b"prompt": PROMPT, b"id": b"a/b\n\0"}).request.id == "a/b\n\0"
    for fields in ({}, {b"id": b""}, {b"id": b"\xff"}, {b"id": b"a" * 1001}):
        assert content({b"image": IMAGE, b"prompt": PROMPT, **fields}).request.id == "7-0"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "prompt: is missing"),
        ({b"prompt": PROMPT}, "image: is missing, and so is path"),
        ({b"image": IMAGE}, "prompt: is missing"),
        ({b"id": b"\xff"}, "id: is not UTF-8"),
        ({b"id": b"a" * 1001}, "id: has 1001 characters, more than 1000"),
        ({b"prompt": b" " * 1001}, "prompt: has 1001 bytes, more than 1000 (--max-prompt-bytes)"),
        ({b"prompt": PROMPT, b"image": bytes(10**6 + 1)}, "image: has 1000001 bytes, more than 1000000"),
        ({b"prompt": PROMPT, b"path": b"a\0b"}, r"path: a\x00b has a NUL, which no path can have"),
        ({b"prompt": PROMPT, b"path": b"a" * 4097}, "path: has 4097 bytes, more than 4096"),
        ({b"prompt": PROMPT, b"path": b"a" * 300}, "cannot be read: File name too long"),
        ({b"prompt": PROMPT, b"path": b"circle"}, "circle: cannot be read"),
        ({b"prompt": PROMPT, b"path": b"file/below"}, "file/below: cannot be read: Not a directory"),
        ({b"prompt": PROMPT, b"path": b"."}, "cannot be read: is not a regular file"),
        ({b"prompt": PROMPT, b"path": b"pipe"}, "pipe: cannot be read: is not a regular file"),
        ({b"prompt": PROMPT, b"path": b"\xfe"}, r"\xfe: is not there"),
        ({b"prompt": PROMPT, b"path": b"../\xff"}, r"../\xff is outside --root"),
    ],
)
def test_the_error_of_a_bad_entry_names_the_field(fields: Fields, said: str, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")

    error = content(fields, tmp_path).request.error

    assert said in str(error)
    assert not isinstance(error, UnreadableInput)  # it is not tried again


def test_a_path_may_be_any_bytes_that_name_a_file(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).write_bytes(IMAGE)

    request = content({b"prompt": PROMPT, b"path": b"\xff.jpg"}, tmp_path).request

    assert request.error is None
    assert request.image == IMAGE


def test_an_image_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(2**40)

    error = content({b"prompt": PROMPT, b"path": b"large.jpg"}, tmp_path).request.error

    assert isinstance(error, BadImage)


@pytest.mark.parametrize("fields", [{}, {b"prompt": b""}])
def test_an_image_without_a_prompt_gets_the_default_one(fields: dict[bytes, bytes]) -> None:
    content = content_of("7-0", {b"image": IMAGE, **fields}, None, LIMITS, b'{"everything": {}}')

    assert (content.request.prompt, content.request.error) == (b'{"everything": {}}', None)
