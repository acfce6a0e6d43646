"""Parses a prompt file: returns its prompts, or raises one error that names the invalid field.

The fields of a prompt and their allowed values are declared by the classes in core.jobs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Literal

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Everything, LowResMask, Point, Prompt
from sampoll.inputs.mask_prompt import decode_mask_prompt, encode_mask_prompt

_UTF8_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Prompts:
    """Many prompts for one image."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    prompts: list[Prompt] = field(metadata={"min_length": 1})


_ONE, _MANY = TypeAdapter(Prompt), TypeAdapter(Prompts)
_WHOLE_NUMBERS: dict[type, list[str]] = {
    kind: [each.name for each in fields(kind) if each.type is int] for kind in (Prompt, Point, Everything)
}


def parse_prompts(
    content: bytes, file: str, at_most: int, *, ignores_unknown_keys: bool = False
) -> dict[str, Prompt]:
    """The prompts of a prompt file, in its order, by their place in it: "" if the file is a single prompt,
    otherwise "prompts[0]." and so on. BadPrompt names `file` and the invalid field.

    A file is one prompt, or `{"prompts": [...]}` with 1..at_most of them. A UTF-8 byte order mark is skipped.
    NaN, infinities and, unless `ignores_unknown_keys`, unknown keys are refused.
    """
    extra: Literal["ignore", "forbid"] = "ignore" if ignores_unknown_keys else "forbid"
    try:
        document = orjson.loads(content.removeprefix(_UTF8_BOM))
    except orjson.JSONDecodeError as error:
        raise BadPrompt(f"is not JSON in UTF-8: {error}", file=file) from error
    if not isinstance(document, dict):
        raise BadPrompt('must be a JSON object such as {"points": [...]} or {"box": {...}}', file=file)
    broken_masks = {}
    for place, prompt in _placed(document):
        _make_whole_numbers(prompt)
        try:
            _decode_mask(prompt)
        except ValueError as error:  # reported below, in order with the other errors
            broken_masks[f"{place}mask"] = str(error)
    try:
        if "prompts" not in document:
            return {"": _ONE.validate_python(document, extra=extra)}
        prompts = _MANY.validate_python(document, extra=extra).prompts
    except ValidationError as error:
        raise _first_of(error, file, broken_masks) from error
    if len(prompts) > at_most:
        raise BadPrompt(
            f"has {len(prompts)} prompts, at most {at_most} are allowed", file=file, field="prompts"
        )
    return {f"prompts[{index}].": prompt for index, prompt in enumerate(prompts)}


def _make_whole_numbers(prompt: dict[str, Any]) -> None:
    """Replaces 1.0 by 1 where an integer is required: some senders write every number as a double."""
    points = prompt.get("points")
    placed: list[tuple[type, Any]] = [(Prompt, prompt), (Everything, prompt.get("everything"))]
    placed += [(Point, point) for point in (points if isinstance(points, list) else ())]
    for kind, value in placed:
        for name in _WHOLE_NUMBERS[kind] if isinstance(value, dict) else ():
            if isinstance(number := value.get(name), float) and number.is_integer():
                value[name] = int(number)


def _placed(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON objects at the places of prompts, each with its place."""
    prompts = document.get("prompts")
    if "prompts" not in document:
        yield "", document
    elif isinstance(prompts, list):
        for index, prompt in enumerate(prompts):
            if isinstance(prompt, dict):
                yield f"prompts[{index}].", prompt


def _decode_mask(prompt: dict[str, Any]) -> None:
    """Replaces the base64 text of a mask by the decoded mask; ValueError if it is invalid."""
    if isinstance(text := prompt.get("mask"), str):
        prompt["mask"] = decode_mask_prompt(text)


class _Schema(GenerateJsonSchema):
    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> dict[str, Any]:
        """The schema of mask prompts, the only kind of value that is not plain JSON."""
        return {
            "type": "string",
            "contentEncoding": "base64",
            "description": "A grayscale PNG of 256x256 pixels, or an .npy file of logits of that shape.",
        }


_HAS_TARGET = {
    "anyOf": [
        {"required": ["points"], "properties": {"points": {"minItems": 1}}},
        {"required": ["box"]},
        {"required": ["mask"]},
        {"required": ["everything"]},
    ],
    "if": {"required": ["everything"]},
    "then": {"properties": {"points": False, "box": False, "mask": False, "refine": False}},
}


def prompt_file_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a prompt file. It cannot express the order of a box's corners, nor the
    content of a mask."""
    either: TypeAdapter[Prompt | Prompts] = TypeAdapter(Prompt | Prompts)
    schema = either.json_schema(ref_template="#/$defs/{model}", schema_generator=_Schema)
    schema["$defs"]["Prompt"].update(_HAS_TARGET)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Prompt file of sampoll",
        **schema,
    }


def prompts_document(prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """The prompts in the form of a prompt file's "prompts", without values that are the default."""
    return [
        {
            each.name: _as_json(value)
            for each in fields(prompt)
            if (value := getattr(prompt, each.name)) != each.default
        }
        for prompt in prompts
    ]


def _as_json(value: Any) -> Any:
    if isinstance(value, LowResMask):
        return encode_mask_prompt(value)
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    if is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    return value


def field_path(location: Sequence[str | int]) -> str:
    """The location as text for messages: `points[2].x`."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def _first_of(error: ValidationError, file: str, broken_masks: Mapping[str, str]) -> BadPrompt:
    errors = error.errors(include_url=False)
    first = errors[0]
    place = first["loc"]
    message = _MESSAGES.get(first["type"], first["msg"]).removeprefix("Value error, ")
    if place[-3::2] == ("points", "label") and first["type"] not in ("missing", _UNKNOWN_KEY):
        message = "must be 0 (background) or 1 (foreground)"
    message = broken_masks.get(field_path(place), message)
    if len(errors) > 1:
        message += f" (and {len(errors) - 1} more)"
    return BadPrompt(message, file=file, field=field_path(place) or None)


_UNKNOWN_KEY = "unexpected_keyword_argument"
_MESSAGES = {
    _UNKNOWN_KEY: "is not a known key",
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
    "too_short": "must not be empty",
}
