"""Parses a prompt file as the commands of the SAM image did: what they took is taken, and becomes a prompt of
today."""

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Box, Everything, Point, Prompt
from sampoll.inputs.prompt_file import SCHEMA_KEY, PlacedPrompt, document_of, good_prompts, prompts_of

_TARGETS = ("points", "box")
"""The keys of a prompt that those commands knew."""
_ADDED = ("mask", "refine", "label", "id")
"""Keys that sampoll has added. Senders may use them for anything else."""
_ANY_BOX = {"x0": 0, "y0": 0, "x1": 1, "y1": 1}
MIN_BOX_SIDE = 1.0
"""In pixels. A box with equal corners was taken; its prompt now has this width, or height."""


def read_old_prompts(content: bytes, file: str, limits: LimitSettings) -> Iterator[PlacedPrompt]:
    """Each prompt of a prompt file, as of `read_prompts`. Bad is what the old commands refused too, and what
    is outside the limits.

    Unknown keys are ignored, and so are keys that sampoll has added, where they have values that it does not
    take. Numbers may be strings or booleans, corners of a box may be in any order. Points whose label is
    neither 0 nor 1 do not count.
    """
    document = document_of(content, file, limits)
    if any(key in document for key in _TARGETS):
        document = {key: value for key, value in document.items() if key not in ("prompts", SCHEMA_KEY)}
    elif "prompts" in document:
        document = {"prompts": document["prompts"]}
    return prompts_of(document, file, limits, _as_today)


def _as_today(prompt: Any) -> Any:
    if not isinstance(prompt, dict):
        return prompt
    known = {key: value for key, value in _only(prompt, Prompt).items() if value is not None}
    if not any(key in known for key in _TARGETS):
        return {key: _only(value, Everything) for key, value in known.items()}
    taken = {key: known[key] for key in _ADDED if key in known and _is_taken(key, known[key])}
    if "points" in known:
        taken["points"] = _points(known["points"])
    if "box" in known:
        box = _box(known["box"])
        if "points" not in known or _is_taken("box", box):
            taken["box"] = box
    return taken


def _only(value: Any, kind: type) -> Any:
    """A JSON object without the keys that `kind` does not have."""
    if not isinstance(value, dict):
        return value
    names = {each.name for each in fields(kind)}
    return {key: each for key, each in value.items() if key in names}


def _is_taken(key: str, value: Any) -> bool:
    """Whether a prompt may have this value."""
    try:
        good_prompts(prompts_of({"box": _ANY_BOX, key: value}, "", LimitSettings()))
    except BadPrompt:
        return False
    return True


def _points(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    points = [_point(point) for point in value]
    # If all of them are of another kind, the first one is refused.
    return [point for point in points if not _is_of_another_kind(point)] or points


def _point(value: Any) -> Any:
    point = _only(value, Point)
    if not isinstance(point, dict):
        return point
    return {key: _label(each) if key == "label" else _number(each) for key, each in point.items()}


def _is_of_another_kind(point: Any) -> bool:
    label = point.get("label") if isinstance(point, dict) else None
    return isinstance(label, int) and label not in (0, 1)


def _label(value: Any) -> Any:
    return int(value) if isinstance(value, bool | float) else value


def _box(value: Any) -> Any:
    box = _only(value, Box)
    if not isinstance(box, dict):
        return box
    box = {key: _number(each) for key, each in box.items()}
    for low, high in (("x0", "x1"), ("y0", "y1")):
        ends = [end for end in (box.get(low), box.get(high)) if isinstance(end, int | float)]
        if len(ends) == 2:
            box[low], box[high] = sorted(ends)
            if box[low] == box[high]:
                box[high] += MIN_BOX_SIDE
    return box


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return number if math.isfinite(number) else value
