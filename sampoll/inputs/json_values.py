"""Values that a program gives as arguments, as those that JSON has."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import orjson

from sampoll.core.errors import BadPrompt
from sampoll.inputs.prompt_errors import MESSAGES, cut

MAX_DEPTH = 16
"""More than any prompt has, and less than a parser of JSON takes."""
BYTES_PER_VALUE = 2
"""What a value takes in JSON at least, with the comma behind it."""


class _NotJson(Exception):
    """Why JSON has no such value, and where in the argument it is: `.points_per_side`, `[2]`."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path = ""


@contextmanager
def reading(place: str) -> Iterator[None]:
    """BadPrompt, about the argument at `place`, for whatever the program's own objects raise inside."""
    try:
        yield
    except BadPrompt:
        raise
    except _NotJson as refused:
        raise BadPrompt(refused.message, field=(place + refused.path).removeprefix(".")) from refused
    except Exception as error:
        raise BadPrompt(f"cannot be read: {type(error).__name__}: {error}", field=place) from error


class JsonValues:
    """Turns arrays (also those of torch), sequences, mappings, dataclasses and numbers of any library into
    lists, dictionaries, text and numbers; no more of them in all than `max_bytes` of JSON can hold."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._left = max_bytes // BYTES_PER_VALUE

    def of(self, value: Any, place: str) -> Any:
        """The value of the argument at `place`; BadPrompt names the part of it that JSON does not have."""
        with reading(place):
            return self._plain(value, MAX_DEPTH)

    def _plain(self, value: Any, depth: int) -> Any:
        self._count(1)
        if depth == 0:
            raise _NotJson("is nested too deeply")
        if isinstance(value, float):
            if not math.isfinite(value):  # JSON would have null
                raise _NotJson(MESSAGES["finite_number"])
            return float(value)
        if isinstance(value, Mapping):
            return self._object(value.items(), depth)
        if is_dataclass(value) and not isinstance(value, type):
            return self._object([(each.name, getattr(value, each.name)) for each in fields(value)], depth)
        if hasattr(value, "tolist"):
            self._count(math.prod(getattr(value, "shape", ())))
            return self._plain(value.tolist(), depth - 1)
        if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
            return self._list(value, depth)
        return _single(value)

    def _count(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise _NotJson(f"takes more than {self._max_bytes} bytes as JSON (--max-prompt-bytes)")

    def _object(self, entries: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        made = {}
        for key, value in entries:
            name = checked_key(key)
            try:
                made[name] = self._plain(value, depth - 1)
            except _NotJson as refused:
                refused.path = f".{cut(name)}{refused.path}"
                raise
        return made

    def _list(self, values: Sequence[Any], depth: int) -> list[Any]:
        made = []
        for index, value in enumerate(values):
            try:
                made.append(self._plain(value, depth - 1))
            except _NotJson as refused:
                refused.path = f"[{index}]{refused.path}"
                raise
        return made


def checked_key(key: Any) -> str:
    """A key of JSON."""
    if not isinstance(key, str):
        raise _NotJson(f"must have keys that are text, and has one that is {type(key).__name__}")
    text: str = _single(key)
    return text


def _single(value: Any) -> Any:
    """A value that is no list and no object: text, a number, a truth value or None, or what orjson writes as
    one of these, such as a UUID."""
    try:
        return orjson.loads(orjson.dumps(value))
    except (TypeError, ValueError) as error:
        raise _NotJson(_refusal(value)) from error


def _refusal(value: Any) -> str:
    if isinstance(value, str):
        return "must be text in UTF-8"
    if isinstance(value, int):
        return "must be a number of at most 64 bits"
    return f"must be text, a number, a list or a mapping, and is {type(value).__name__}"
