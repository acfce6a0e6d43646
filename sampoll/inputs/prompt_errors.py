"""What is wrong with a prompt: the field, a message about it, and what to write instead."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Box, Point, Prompt
from sampoll.core.names import printable
from sampoll.core.suggestions import nearest
from sampoll.inputs import prompt_hints

MAX_KEY_CHARACTERS = 80
"""Longer keys are cut in messages."""
MESSAGES = {
    "missing": "is missing",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "dataclass_type": "must be a JSON object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be a string",
    "is_instance_of": "must be a string",
    "string_too_short": "must not be empty",
    "string_too_long": "has more than {max_length} characters",
    "string_pattern_mismatch": "must have something to read, and no control characters",
    "too_short": "must not be empty",
}
"""By the types of pydantic's errors, with names of what their contexts hold."""
POINT_LABELS = "must be 0 (background) or 1 (foreground)"
UNKNOWN_KEY = "is not a known key"
_WRONG_TYPES = frozenset({"missing", "float_type", "int_type", "dataclass_type", "tuple_type", "string_type"})


class InvalidPrompt(Exception):
    """What is wrong with a prompt file, the path of the field, and what to write there, if that is known."""

    def __init__(self, message: str, field: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.advice = advice

    def in_file(self, file: str) -> BadPrompt:
        """The error of the pair."""
        return BadPrompt(self.message, file=file, field=self.field or None, advice=self.advice)


def unknown_key(
    key: str, value: Mapping[str, Any], kind: type, known: Sequence[str], place: str
) -> InvalidPrompt:
    """The error about a key that an object of this kind does not have."""
    meant, advice = nearest(key, known), ""
    if kind is Prompt:
        meant, advice = prompt_hints.for_unknown_key(key, value, known)
    elif kind is Box:
        advice = prompt_hints.for_box(value)
    elif kind is Point:
        advice = prompt_hints.for_point(value if "label" in value else None)
    elif known == ["prompts"]:
        advice = 'beside "prompts" there may only be "$schema"; all else is written into each prompt'
    if not meant and not advice:
        advice = f"known are {', '.join(known)}"
    message = f"{UNKNOWN_KEY}; did you mean {meant}?" if meant else UNKNOWN_KEY
    return InvalidPrompt(message, place + cut(key), advice)


def first_error(error: ValidationError, prompt: Any, place: str) -> InvalidPrompt:
    """The first error in a prompt at `place`."""
    first = error.errors(include_url=False)[0]
    where = first["loc"]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] in MESSAGES:
        message = MESSAGES[first["type"]].format(**first.get("ctx", {}))
    if where[-3::2] == ("points", "label") and first["type"] != "missing":
        message = POINT_LABELS
    elif where == ("points", 0):
        where, message = ("points",), "must be a list of JSON objects"
    is_explained = first["type"] in _WRONG_TYPES or message.startswith("needs ")
    advice = _advice(first, where, prompt) if is_explained else ""
    return InvalidPrompt(message, (place + field_path(where)).removesuffix("."), advice)


def _advice(error: ErrorDetails, where: Sequence[str | int], prompt: Any) -> str:
    name, value, is_missing = where[-1] if where else "", error["input"], error["type"] == "missing"
    if where == ():
        return prompt_hints.for_prompt(value)
    if where == ("points",):
        return prompt_hints.for_points(prompt)
    if where == ("box",) or (is_missing and where[0] == "box"):
        return prompt_hints.for_box(value)
    if isinstance(name, int) or is_missing:
        return prompt_hints.for_point(value)
    return (
        prompt_hints.for_point_label(value)
        if where[-3::2] == ("points", "label")
        else prompt_hints.for_value(name, value)
    )


def cut(key: str) -> str:
    """A key for messages: printable, and not too long."""
    shown = printable(key[: MAX_KEY_CHARACTERS + 1])
    return shown if len(shown) <= MAX_KEY_CHARACTERS else f"{shown[:MAX_KEY_CHARACTERS]}..."


def field_path(location: Sequence[str | int]) -> str:
    """The location as text for messages: `points[2].x`."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path
