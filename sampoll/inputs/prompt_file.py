"""Parses a prompt file: returns its prompts, or raises one error that names the invalid field.

The fields of a prompt and their allowed values are declared by the classes in core.jobs.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

import orjson
from pydantic import TypeAdapter, ValidationError

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import DEFAULT_LABEL, MAX_NAME_CHARACTERS, Box, Everything, LowResMask, Point, Prompt
from sampoll.inputs.mask_prompt import decode_mask_prompt, encode_mask_prompt
from sampoll.inputs.prompt_errors import MESSAGES, InvalidPrompt, cut, first_error, unknown_key
from sampoll.inputs.prompt_hints import for_document, for_value

UTF8_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Prompts:
    """Many prompts for one image."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    prompts: list[Prompt] = field(metadata={"min_length": 1})


_ONE = TypeAdapter(Prompt)
_KEYS: dict[type, frozenset[str]] = {
    kind: frozenset(each.name for each in fields(kind)) for kind in (Prompt, Prompts, Point, Box, Everything)
}
_WHOLE_NUMBERS: dict[type, list[str]] = {
    kind: [each.name for each in fields(kind) if each.type is int] for kind in (Prompt, Point, Everything)
}
_DEFAULTS = {each.name: each.default for each in fields(Prompt)}
_STRUCTURE = (b"{", b"[", b",")
GRID_SIDE = Everything().points_per_side
POINT_STRUCTURE, PROMPT_STRUCTURE = 4, 16
"""How many of `_STRUCTURE` a point, and a prompt without its points, have at most, with some to spare."""
_POINT_NAMES = (b'"x"', b'"y"', b'"label"')
POINT_OBJECTS, PROMPT_OBJECTS = 1, 16
"""How many objects, lists and strings other than `_POINT_NAMES` they have at most. To parse one of these
takes ten times as long as to parse a number."""
MAX_MASKS = 256
"""Mask prompts of one file, at most: each takes 256 KB of memory, however small it is in the file."""
SCHEMA_KEY = "$schema"
"""Where a file may say which JSON Schema editors check it with; it has no other meaning."""


def parse_prompts(content: bytes, file: str, limits: LimitSettings) -> dict[str, Prompt]:
    """The prompts of a prompt file, as of `read_prompts`, by their place in it; BadPrompt names `file` and
    the first invalid field."""
    return good_prompts(read_prompts(content, file, limits))


@dataclass(frozen=True)
class PlacedPrompt:
    """A prompt of a file, or what is wrong with it. `place` is where it is: "" if the file is a single
    prompt, otherwise "prompts[0]." and so on; `id` is its own name, if it has a valid one."""

    place: str
    id: str | None
    prompt: Prompt | BadPrompt


def good_prompts(placed: Iterable[PlacedPrompt]) -> dict[str, Prompt]:
    """The prompts by their places; raises what is wrong with the first bad one."""
    good = {}
    for each in placed:
        if isinstance(each.prompt, BadPrompt):
            raise each.prompt
        good[each.place] = each.prompt
    return good


def read_prompts(content: bytes, file: str, limits: LimitSettings) -> Iterator[PlacedPrompt]:
    """Each prompt of a prompt file, in its order; BadPrompt if the file itself is bad or over the limits.

    A file is one prompt, or `{"prompts": [...]}` with 1..max_prompts of them; both may have a "$schema". A
    UTF-8 byte order mark is skipped. NaN, infinities, unknown keys, and keys that an object has twice are
    refused.

    Any content is parsed or refused within a time and memory that `limits` determine. What could be expensive
    is counted before it is done, and no single step holds the interpreter lock for long, so that the
    heartbeats of the process go on.
    """
    document = document_of(content, file, limits)
    if key := key_that_is_there_twice(content, document):
        raise BadPrompt(f'has the key "{cut(key)}" twice in one object', file=file)
    return prompts_of(document, file, limits)


def prompts_of(
    document: dict[str, Any],
    file: str,
    limits: LimitSettings,
    adapt: Callable[[Any], Any] = lambda prompt: prompt,
) -> Iterator[PlacedPrompt]:
    """The prompts of the JSON of a prompt file, as of `read_prompts`; each is read as what `adapt` makes of
    it."""
    try:
        placed = _placed(document)
        _check_counts(placed, limits)
    except InvalidPrompt as error:
        raise error.in_file(file) from error
    for place, value in placed.items():
        adapted = adapt(value)
        try:
            prompt: Prompt | BadPrompt = _prompt(place, adapted, limits)
        except InvalidPrompt as error:
            prompt = error.in_file(file)
        yield PlacedPrompt(place, _id_of(adapted), prompt)


def _id_of(value: Any) -> str | None:
    """The id of a prompt that may be bad."""
    given = value.get("id") if isinstance(value, dict) else None
    identity = _id_as_text(given).get("id", given)
    is_valid = isinstance(identity, str) and len(identity) <= MAX_NAME_CHARACTERS
    return identity if is_valid else None


def excess_of_values(content: bytes, limits: LimitSettings) -> str:
    """Why JSON holds more values than prompts within the limits need; "" if it does not. It is not parsed."""
    points, prompts = limits.max_points, limits.max_prompts
    need = f"more than {prompts} prompts (--max-prompts) with {points} points (--max-points) need"
    count = {mark: content.count(mark) for mark in (*_STRUCTURE, b'"')}
    structure = sum(count[mark] for mark in _STRUCTURE)
    if structure > POINT_STRUCTURE * points + PROMPT_STRUCTURE * prompts:
        return f"has {structure} commas and opening brackets, {need}"
    most = POINT_OBJECTS * points + PROMPT_OBJECTS * prompts
    objects = count[b"{"] + count[b"["] + count[b'"'] // 2
    if objects > most:  # only then are the names looked for, which takes longest
        objects -= sum(map(content.count, _POINT_NAMES))
    return f"has {objects} objects, lists and strings, {need}" if objects > most else ""


def document_of(content: bytes, file: str, limits: LimitSettings) -> dict[str, Any]:
    """The JSON object in a prompt file; BadPrompt if it is none, or would be expensive to parse."""
    if excess := excess_of_values(content, limits):
        raise BadPrompt(excess, file=file)
    try:
        document = orjson.loads(content.removeprefix(UTF8_BOM))
    except orjson.JSONDecodeError as error:
        raise BadPrompt(f"is not JSON in UTF-8: {error}", file=file) from error
    if not isinstance(document, dict):
        raise BadPrompt(
            'must be a JSON object such as {"points": [...]} or {"box": {...}}',
            file=file,
            advice=for_document(document),
        )
    return document


def key_that_is_there_twice(content: bytes, document: Any) -> str:
    """A key that an object has twice in the JSON of `document`; "" if there is none. Which of the values is
    meant? orjson takes the last one."""
    twice: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        twice.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)

    def kept(number: str) -> str:
        """Numbers stay text, because an integer of many digits would be expensive."""
        return number

    if content.count(b":") == _number_of_keys(document):
        return ""
    with suppress(RecursionError):  # no prompt is as deep: what is wrong is found later
        text = content.removeprefix(UTF8_BOM)
        json.loads(text, object_pairs_hook=look, parse_int=kept, parse_float=kept)
    return twice[0] if twice else ""


def _number_of_keys(document: Any) -> int:
    """The number of keys of all objects in a JSON value."""
    count, values = 0, [document]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            count += len(value)
            values += value.values()
        elif isinstance(value, list):
            values += value
    return count


def _placed(document: dict[str, Any]) -> dict[str, Any]:
    """The values at the places of prompts, each by its place."""
    if not isinstance(document.pop(SCHEMA_KEY, ""), str):
        raise InvalidPrompt(MESSAGES["string_type"], SCHEMA_KEY)
    if "prompts" not in document:
        return {"": document}
    _refuse_unknown_keys(document, Prompts, "")
    prompts = document["prompts"]
    if not isinstance(prompts, list):
        raise InvalidPrompt(MESSAGES["list_type"], "prompts", for_value("prompts", prompts))
    if not prompts:
        raise InvalidPrompt(MESSAGES["too_short"], "prompts")
    return {f"prompts[{index}].": prompt for index, prompt in enumerate(prompts)}


def _check_counts(placed: Mapping[str, Any], limits: LimitSettings) -> None:
    """Refuses more prompts, points or masks in a file than are allowed; a grid of "everything" counts as its
    points."""
    if len(placed) > limits.max_prompts:
        raise InvalidPrompt(
            f"has {len(placed)} prompts, at most {limits.max_prompts} are allowed (--max-prompts)", "prompts"
        )
    points_of_file = masks = 0
    for prompt in placed.values():
        if not isinstance(prompt, dict):
            continue
        points, everything = prompt.get("points"), prompt.get("everything")
        masks += "mask" in prompt
        if isinstance(points, list):
            points_of_file += len(points)
        if isinstance(everything, dict):
            side = everything.get("points_per_side", GRID_SIDE)
            points_of_file += int(side**2) if isinstance(side, int | float) and abs(side) < 2**16 else 0
    if points_of_file > limits.max_points:
        raise InvalidPrompt(
            f"has {points_of_file} points, at most {limits.max_points} are allowed in a file (--max-points); "
            'the grid of "everything" counts too',
            "",
        )
    if masks > MAX_MASKS:
        raise InvalidPrompt(f"has {masks} masks, at most {MAX_MASKS} are allowed in a file", "")


def _prompt(place: str, value: Any, limits: LimitSettings) -> Prompt:
    """The validated prompt of a JSON value."""
    if isinstance(value, dict):
        _check_points(value.get("points"), place, limits)
        objects = list(_objects(value, place))
        for kind, inner, where in objects:
            _refuse_unknown_keys(inner, kind, where)
        for kind, inner, _ in objects:
            _make_whole_numbers(inner, kind)
        value.update(_id_as_text(value.get("id")))
        if isinstance(text := value.get("mask"), str):
            value["mask"] = _mask(text, place)
    try:
        return _ONE.validate_python(value)
    except ValidationError as error:
        raise first_error(error, value, place) from error


def _check_points(points: Any, place: str, limits: LimitSettings) -> None:
    """Refuses more points than a prompt may have."""
    if isinstance(points, list) and len(points) > limits.max_points_per_prompt:
        raise InvalidPrompt(
            f"has {len(points)} points, at most {limits.max_points_per_prompt} are allowed in a prompt "
            "(--max-points-per-prompt)",
            f"{place}points",
        )


def _id_as_text(id: Any) -> dict[str, str]:
    """The id of a prompt as text, if it is a whole number."""
    is_whole = type(id) is int or (isinstance(id, float) and id.is_integer())
    return {"id": str(int(id))} if is_whole else {}


def _mask(text: str, place: str) -> LowResMask:
    try:
        return decode_mask_prompt(text)
    except ValueError as error:
        raise InvalidPrompt(str(error), f"{place}mask") from error


def _objects(prompt: dict[str, Any], place: str) -> Iterator[tuple[type, dict[str, Any], str]]:
    """The JSON objects of a prompt with their kinds and places, itself among them."""
    points = prompt.get("points")
    yield Prompt, prompt, place
    for key, kind in (("box", Box), ("everything", Everything)):
        if isinstance(value := prompt.get(key), dict):
            yield kind, value, f"{place}{key}."
    for index, point in enumerate(points if isinstance(points, list) else ()):
        if isinstance(point, dict):
            yield Point, point, f"{place}points[{index}]."


def _refuse_unknown_keys(value: dict[str, Any], kind: type, place: str) -> None:
    """Stops at the first one; pydantic would make an error of each."""
    if not _KEYS[kind].issuperset(value):
        key = next(key for key in value if key not in _KEYS[kind])
        raise unknown_key(key, value, kind, sorted(_KEYS[kind]), place)


def _make_whole_numbers(value: dict[str, Any], kind: type) -> None:
    """Replaces 1.0 by 1 where an integer is required: some senders write every number as a double."""
    for name in _WHOLE_NUMBERS.get(kind, ()):
        if isinstance(number := value.get(name), float) and number.is_integer():
            value[name] = int(number)


def prompts_document(prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """The prompts in the form of a prompt file's "prompts", without values that are the default. With words,
    the label is always there: what reads it needs not know where it came from."""
    return [_prompt_document(prompt) for prompt in prompts]


def _prompt_document(prompt: Prompt) -> dict[str, Any]:
    defaults = _DEFAULTS if prompt.text is not None else {**_DEFAULTS, "label": DEFAULT_LABEL}
    values = ((name, getattr(prompt, name), default) for name, default in defaults.items())
    return {name: _as_json(value) for name, value, default in values if value != default}


def _as_json(value: Any) -> Any:
    if isinstance(value, LowResMask):
        return encode_mask_prompt(value)
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    if is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    return value
