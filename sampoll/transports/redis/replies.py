"""Replies as clients read them, of sampoll and of other programs. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from sampoll.core import base64_text
from sampoll.core.jobs import MAX_COORDINATE


@dataclass(frozen=True)
class Reply:
    """One reply as a client sees it. `opex` and `files` are missing in replies of other programs."""

    id: str | int | None
    contours: list[list[list[int]]]
    mask: bytes
    opex: dict[str, Any] | None
    files: Mapping[str, bytes]
    meta: Mapping[str, Any]

    @property
    def error(self) -> str | None:
        error = self.meta.get("error")
        return None if error is None else str(error)

    @property
    def skipped_prompts(self) -> list[str]:
        """What is wrong with each prompt that the service has skipped."""
        listed = self.meta.get("skipped_prompts")
        entries = listed if isinstance(listed, list) else []
        return [str(entry["message"]) for entry in entries if isinstance(entry, dict) and "message" in entry]


class NoReply(ValueError):
    """A message that is no reply; `id` is the request's, if the message tells it."""

    def __init__(self, reason: str, id: str | int | None = None) -> None:
        super().__init__(f"a message that is no reply: {reason}")
        self.id = id


def parse_reply(message: bytes) -> Reply:
    """The reply in a message. NoReply if it is not JSON, or a value has another type than it should: a Reply
    can be written as it is."""
    try:
        document = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise NoReply(f"it is not JSON in UTF-8: {error}") from error
    if not isinstance(document, dict):
        raise NoReply("it must be a JSON object")
    identity = document.get("id")
    if identity is not None and not isinstance(identity, str) and type(identity) is not int:
        raise NoReply("id: must be a string or an integer")
    for key, (is_valid, what) in _REPLY_FIELDS.items():
        if not is_valid(document.get(key)):
            raise NoReply(f"{key}: must be {what}", identity)
    meta, opex, files = (document.get(key) for key in ("meta", "opex", "files"))
    try:
        orjson.dumps([meta, opex])  # JSON that can be read may be too deeply nested to be written
        return Reply(
            id=identity,
            contours=document["contours"],
            mask=_decoded("mask", document["mask"]),
            opex=opex,
            files={
                suffix: _decoded(f"files: {suffix}", content) for suffix, content in (files or {}).items()
            },
            meta=meta or {},
        )
    except (orjson.JSONEncodeError, ValueError) as error:
        raise NoReply(str(error), identity) from error


def _decoded(place: str, text: str) -> bytes:
    try:
        return base64_text.decoded(text)
    except ValueError as error:
        raise ValueError(f"{place}: is not base64: {error}") from error


def _is_contours(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(contour, list) and all(map(_is_point, contour)) for contour in value
    )


def _is_point(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_coordinate, value))


def _is_coordinate(value: object) -> bool:
    return type(value) in (int, float) and abs(value) <= MAX_COORDINATE  # type: ignore[arg-type]


def _is_meta(value: object) -> bool:
    return value is None or (
        isinstance(value, dict)
        and all(isinstance(value.get(key), str | None) for key in ("error", "error_code"))
    )


def _is_files(value: object) -> bool:
    return value is None or (
        isinstance(value, dict) and all(isinstance(content, str) for content in value.values())
    )


_REPLY_FIELDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "contours": (_is_contours, "lists of points [x, y]"),
    "mask": (lambda value: isinstance(value, str), "base64"),
    "opex": (lambda value: isinstance(value, dict | None), "a JSON object"),
    "files": (_is_files, "a JSON object of base64"),
    "meta": (_is_meta, "a JSON object, and its error and error_code strings"),
}
