"""What a right prompt looks like: what messages about a wrong one say to write, in a bounded length.

It has the numbers that were sent, if they can be understood, and otherwise it is an example.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sampoll.core.suggestions import nearest
from sampoll.inputs import prompt_forms

POINT = '{"x": 10, "y": 20, "label": 1}'
BOX = '{"x0": 10, "y0": 20, "x1": 30, "y1": 40}'
EXAMPLES = {
    "points": f"[{POINT}]",
    "box": BOX,
    "refine": "2",
    "everything": '{"points_per_side": 32}',
    "text": '"dog"',
    "score_thresh": "0.5",
    "label": '"dog"',
    "id": '"animal-7"',
    "prompts": f'[{{"box": {BOX}}}]',
    **dict.fromkeys((*prompt_forms.CORNERS, "x", "y"), "10"),
}
"""A right value of each field. That of a mask would be too long."""


def for_unknown_key(key: str, prompt: Mapping[str, Any], known: Sequence[str]) -> tuple[str, str]:
    """The key of a prompt that is meant, and how to write it with its value; both may be ""."""
    meant = prompt_forms.meant_key(key, prompt[key]) or nearest(key, known)
    example = f'"{meant}": {EXAMPLES[meant]}' if meant in EXAMPLES else ""
    return meant, _write(prompt_forms.field_form(key, meant, prompt), example)


def for_box(box: Any) -> str:
    """A box that is none, lacks a corner, or has other keys."""
    return _write(prompt_forms.box_form(box), BOX)


def for_points(prompt: Mapping[str, Any]) -> str:
    """The points of a prompt that are none."""
    return _write(
        prompt_forms.points_form(*prompt_forms.points_and_labels("points", prompt)), EXAMPLES["points"]
    )


def for_point(point: Any) -> str:
    """A point that is none, or lacks something."""
    form = prompt_forms.point_form(point)
    return _write(form, POINT) + (", or label 0 for the background" if '"label": 1' in form else "")


def for_point_label(label: Any) -> str:
    """The label of a point."""
    number = prompt_forms.label_number(label)
    return "" if number is None else _write(str(number))


def for_value(name: str, value: Any) -> str:
    """A string or a number, by the name of its field."""
    form = prompt_forms.string_form if name in ("text", "label", "id") else prompt_forms.number_form
    return _write(form(value), EXAMPLES.get(name, ""))


def for_prompt(value: Any) -> str:
    """A prompt that is no object, or says nothing of where the object is."""
    return _write(prompt_forms.prompt_form(value), f'{{"box": {BOX}}}')


def for_document(value: Any) -> str:
    """A prompt file that is no object."""
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, dict) and "x" not in first:
        return 'write {"prompts": [...]} around this list'
    return _write(prompt_forms.prompt_form(value))


def _write(form: str, example: str = "") -> str:
    if not form:
        return f"write, for example, {example}" if example else ""
    # A list of x, y, width and height looks the same as one of corners.
    return f"write {form}" + (" (corners, not width and height)" if '"x0"' in form else "")
