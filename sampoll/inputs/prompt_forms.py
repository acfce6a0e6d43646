"""The form that a prompt file has for coordinates as other tools write them, as JSON text for messages.

Each function returns "" for what it does not understand. It looks at the first few values only, so its result
has a bounded length and takes a bounded time, whatever was sent.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

CORNERS = ("x0", "y0", "x1", "y1")
OTHER_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
)
"""The corners of a box as other tools call them in tables."""
_ALL_CORNERS = (CORNERS, *OTHER_CORNERS, ("left", "top", "right", "bottom"))
_SIZE = frozenset({"w", "h", "width", "height"})
_LABELS = {
    **dict.fromkeys(("1", "foreground", "fg", "positive", "object", "true"), 1),
    **dict.fromkeys(("0", "background", "bg", "negative", "false"), 0),
}
_BOX_KEYS = frozenset(
    {"bbox", "bboxes", "boxes", "boundingbox", "inputbox", "inputboxes", "rect", "rectangle"}
)
_POINT_KEYS = frozenset(
    {"point", "points", "pointcoords", "inputpoint", "inputpoints", "coords", "coordinates", "clicks"}
)
_POINT_LABEL_KEYS = frozenset({"label", "labels", "pointlabel", "pointlabels", "inputlabel", "inputlabels"})
_TEXT_KEYS = frozenset({"prompt", "textprompt", "words", "caption", "phrase", "query", "concept"})
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,19})?")
_SEPARATORS = re.compile(r"[\s,;]+")
_MAX_TEXT_CHARACTERS = 100
_MAX_SHOWN, _MAX_SHOWN_CHARACTERS = 3, 120
"""How many points, or boxes, are shown, and in how many characters; the first one is shown in any case."""
_MAX_KEYS = 16
"""A prompt of more keys is not searched for those of other tools."""


def box_form(value: Any) -> str:
    """A box: of four numbers, two corners, a string with four numbers, or corners with other names."""
    if isinstance(value, Mapping):
        found = (names for names in _ALL_CORNERS if all(name in value for name in names))
        value = [value[name] for name in next(found, ())]
    numbers = _plain(value)
    if isinstance(numbers, list) and len(numbers) == 2 and all(_are_numbers(each, 2) for each in numbers):
        numbers = [*numbers[0], *numbers[1]]
    return _object(CORNERS, numbers) if _are_numbers(numbers, 4) else ""


def boxes_form(value: Any) -> str:
    """A list of prompts, one for each box of a list."""
    boxes = _plain(value)
    if not isinstance(boxes, list):
        return ""
    return _list([_with('{{"box": {}}}', box_form(box)) for box in boxes[:_MAX_SHOWN]], len(boxes))


def point_form(value: Any, label: Any = 1) -> str:
    """A point: of x and y, of x, y and a label, or an object; `label` is that of a point without one."""
    if isinstance(value, Mapping):
        value = [value.get("x"), value.get("y"), value.get("label", label)]
    if not isinstance(value, list) or len(value) not in (2, 3):
        return ""
    number = label_number(value[2] if len(value) == 3 else label)
    is_point = number is not None and _are_numbers(value[:2], 2)
    return _object(("x", "y", "label"), [*value[:2], number]) if is_point else ""


def points_form(value: Any, labels: Any = 1) -> str:
    """A list of points; `labels` are those of points without one, a list or the same for all."""
    points, labels = _plain(value), _plain(labels)
    if isinstance(points, Mapping) or _are_numbers(points, 2, 3):
        points = [points]
    if not isinstance(points, list):
        return ""
    if isinstance(labels, list) and len(labels) != len(points):
        return ""
    of_each = labels if isinstance(labels, list) else [labels] * _MAX_SHOWN
    shown = zip(points[:_MAX_SHOWN], of_each, strict=False)
    return _list([point_form(point, label) for point, label in shown], len(points))


def prompt_form(value: Any) -> str:
    """A prompt file or prompt, of nothing but numbers: one box, points, or boxes."""
    plain = _plain(value)
    if _are_numbers(plain, 4):
        return _with('{{"box": {}}}', box_form(plain))
    return _with('{{"points": {}}}', points_form(plain)) or _with('{{"prompts": {}}}', boxes_form(plain))


def field_form(key: str, meant: str, prompt: Mapping[str, Any]) -> str:
    """A field of a prompt: the value of `key` as the field `meant`, or its own keys as coordinates."""
    if meant == "box":
        return _with('"box": {}', box_form(prompt[key])) or _with('"prompts": {}', boxes_form(prompt[key]))
    if meant == "points":
        return _with('"points": {}', points_form(*points_and_labels(key, prompt)))
    if meant == "text":
        return _with('"text": {}', _text_form(prompt[key]))
    if meant or _SIZE & prompt.keys():
        return ""
    return _with('"box": {}', box_form(prompt)) or _with('"points": [{}]', point_form(prompt))


def meant_key(key: str, value: Any) -> str:
    """The key of a prompt that is called `key` by other tools."""
    if _name(key) in _POINT_KEYS or _are_point_labels(key, value):
        return "points"
    if _name(key) in _TEXT_KEYS and isinstance(value, str):
        return "text"
    return "box" if _name(key) in _BOX_KEYS else ""


def label_number(label: Any) -> int | None:
    """The label of a point, which other tools write as a word or a truth value; None for any other value."""
    if isinstance(label, str):
        return _LABELS.get(label.strip().casefold()) if len(label) <= _MAX_TEXT_CHARACTERS else None
    return int(label) if isinstance(label, int | float) and label in (0, 1) else None


def number_form(value: Any) -> str:
    """A number that is in a string."""
    numbers = _plain(value) if isinstance(value, str) else []
    return json.dumps(numbers[0]) if _are_numbers(numbers, 1) else ""


def string_form(value: Any) -> str:
    """A number as a string."""
    return json.dumps(json.dumps(value)) if _are_numbers([value], 1) else ""


def _text_form(value: Any) -> str:
    is_short = isinstance(value, str) and len(value) <= _MAX_TEXT_CHARACTERS
    return json.dumps(value) if is_short else ""


def points_and_labels(key: str, prompt: Mapping[str, Any]) -> tuple[Any, Any]:
    """The points of a prompt, and their labels, which other tools write beside them."""
    if len(prompt) > _MAX_KEYS:
        return None, None
    keys = [key, *prompt]
    labels = next((prompt[each] for each in keys if _are_point_labels(each, prompt[each])), 1)
    if _are_point_labels(key, prompt[key]):
        return next((prompt[each] for each in keys if _name(each) in _POINT_KEYS), None), labels
    return prompt[key], labels


def _are_point_labels(key: str, value: Any) -> bool:
    return _name(key) in _POINT_LABEL_KEYS and not isinstance(value, str)


def _name(key: str) -> str:
    return key.casefold().replace("_", "").replace("-", "") if len(key) <= _MAX_TEXT_CHARACTERS else ""


def _plain(value: Any) -> Any:
    """The numbers of a string as a list, and a list without the lists around it."""
    if isinstance(value, str):
        words = _SEPARATORS.split(value[:_MAX_TEXT_CHARACTERS].strip("[]() \n")) if value else []
        is_short = len(value) <= _MAX_TEXT_CHARACTERS and all(map(_NUMBER.fullmatch, words))
        return [json.loads(word) for word in words] if is_short else []
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    return value


def _are_numbers(value: Any, *counts: int) -> bool:
    return (
        isinstance(value, list) and len(value) in counts and all(type(each) in (int, float) for each in value)
    )


def _object(names: Sequence[str], values: Sequence[Any]) -> str:
    return json.dumps(dict(zip(names, values, strict=True)))


def _with(template: str, form: str) -> str:
    return template.format(form) if form else ""


def _list(forms: Sequence[str], count: int) -> str:
    """The first forms of a list of `count`; "" if one of them is not understood."""
    if not forms or not all(forms):
        return ""
    shown = list(forms[:1])
    for form in forms[1:]:
        if len(", ".join([*shown, form])) <= _MAX_SHOWN_CHARACTERS:
            shown.append(form)
    return f"[{', '.join(shown)}{', ...' if len(shown) < count else ''}]"
