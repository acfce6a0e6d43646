"""Prompts that a program gives as arguments, as the content of a prompt file: so the same checks apply."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Box, LowResMask, Point, Prompt
from sampoll.inputs.mask_prompt import check_logits, encode_mask_prompt
from sampoll.inputs.prompt_errors import MESSAGES, POINT_LABELS
from sampoll.inputs.prompt_file import prompts_document

Coordinates: TypeAlias = Sequence[float] | NDArray[Any]
Points: TypeAlias = Sequence[Coordinates | Point] | NDArray[Any]
MaskArgument: TypeAlias = LowResMask | NDArray[np.floating[Any]] | str
"""A mask prompt: low-res logits of shape (256, 256), or as a prompt file has it."""
PromptArgument: TypeAlias = Prompt | Mapping[str, Any]

PROMPTS, LABELS = "prompts", "point_labels"


def prompt_content(arguments: Mapping[str, Any], limits: LimitSettings) -> bytes:
    """The prompt file with these arguments, of which None are left out.

    They are the fields of a prompt, with points as (x, y), their labels beside them as `point_labels`, 1 if
    left out, and a box as (x0, y0, x1, y1); or `prompts`, a list of such mappings, of entries of a prompt
    file, or of Prompt. BadPrompt names the argument at fault, as far as the checks of a prompt file do not.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    prompts = given.pop(PROMPTS, None)
    if prompts is None:
        document: Any = _prompt(given, "")
    elif given:
        raise BadPrompt(f"cannot be combined with {', '.join(given)}: write them into each", field=PROMPTS)
    else:
        document = {PROMPTS: _each(prompts)}
    try:
        content = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    except (TypeError, ValueError) as error:  # a value without a form in JSON, or text that is not Unicode
        raise BadPrompt(f"a prompt cannot hold this: {error}") from error
    if len(content) > limits.max_prompt_bytes:
        raise BadPrompt(
            f"has {len(content)} bytes, more than {limits.max_prompt_bytes} (--max-prompt-bytes)",
            file="the prompt as JSON",
        )
    _refuse_infinite(document, "")
    return content


def _each(prompts: Any) -> Any:
    if isinstance(prompts, str | bytes | Mapping) or not isinstance(prompts, Sequence):
        raise BadPrompt(MESSAGES["list_type"], field=PROMPTS)
    return [_of_list(prompt, f"{PROMPTS}[{index}]") for index, prompt in enumerate(prompts)]


def _of_list(prompt: Any, place: str) -> Any:
    if isinstance(prompt, Prompt):
        return prompts_document([prompt])[0]
    return _prompt(prompt, f"{place}.") if isinstance(prompt, Mapping) else prompt


def _prompt(arguments: Mapping[str, Any], place: str) -> dict[str, Any]:
    """One prompt as in a prompt file; what is not understood stays as it is, and is refused when it is
    read."""
    prompt = dict(arguments)
    if "points" in prompt:
        prompt["points"] = _points(prompt["points"], prompt.pop(LABELS, None), place)
    elif LABELS in prompt:
        raise BadPrompt("are given, and no points", field=f"{place}{LABELS}")
    if "box" in prompt:
        prompt["box"] = _box(prompt["box"], f"{place}box")
    if "mask" in prompt:
        prompt["mask"] = _mask(prompt["mask"], f"{place}mask")
    if prompt.get("everything") is True:
        prompt["everything"] = {}
    elif prompt.get("everything") is False:
        del prompt["everything"]
    return prompt


def _points(points: Any, labels: Any, place: str) -> Any:
    """The points with their labels; `labels` is None if each is on the object, or has its own."""
    points = _plain(points)
    if not isinstance(points, list | tuple):
        return points
    if labels is None:
        of_each: Sequence[Any] = [1] * len(points)
    else:
        of_each = _labels(labels, len(points), place)
        for index, point in enumerate(points):
            if isinstance(point, Point | Mapping):
                raise BadPrompt(
                    f"are given, and points[{index}] has a label of its own", field=f"{place}{LABELS}"
                )
    each = zip(points, of_each, strict=True)
    return [_point(point, label, f"{place}points[{i}]") for i, (point, label) in enumerate(each)]


def _labels(labels: Any, count: int, place: str) -> Sequence[Any]:
    labels = _plain(labels)
    if not isinstance(labels, list | tuple):
        raise BadPrompt(MESSAGES["list_type"], field=f"{place}{LABELS}")
    if len(labels) != count:
        raise BadPrompt(f"are {len(labels)}, and there are {count} points", field=f"{place}{LABELS}")
    labels = [_plain(label) for label in labels]
    for index, label in enumerate(labels):
        if not isinstance(label, int | float) or label not in (0, 1):
            raise BadPrompt(POINT_LABELS, field=f"{place}{LABELS}[{index}]")
    return [int(label) for label in labels]


def _point(point: Any, label: int, place: str) -> Any:
    if isinstance(point, Point):
        return {"x": point.x, "y": point.y, "label": point.label}
    if isinstance(point, Mapping):
        return point
    x, y = _numbers(point, ("x", "y"), place)
    return {"x": x, "y": y, "label": label}


def _box(box: Any, place: str) -> Any:
    if isinstance(box, Box):
        return {"x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1}
    if isinstance(box, Mapping):
        return box
    names = ("x0", "y0", "x1", "y1")
    return dict(zip(names, _numbers(box, names, place), strict=True))


def _numbers(values: Any, names: Sequence[str], place: str) -> Sequence[Any]:
    """As many numbers as there are names."""
    values = _plain(values)
    if not isinstance(values, list | tuple) or len(values) != len(names):
        raise BadPrompt(f"must be ({', '.join(names)})", field=place)
    return [_plain(value) for value in values]


def _refuse_infinite(value: Any, place: str) -> None:
    """BadPrompt for a number that JSON does not have; it would be written as if it were not there."""
    value = _plain(value)
    if isinstance(value, Mapping):
        for name, each in value.items():
            _refuse_infinite(each, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            _refuse_infinite(each, f"{place}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise BadPrompt(MESSAGES["finite_number"], field=place)


def _mask(mask: Any, place: str) -> Any:
    if isinstance(mask, LowResMask):
        return encode_mask_prompt(mask)
    if isinstance(mask, np.ndarray):
        try:
            check_logits(mask.shape, mask.dtype)
        except ValueError as error:
            raise BadPrompt(str(error), field=place) from error
        file = io.BytesIO()
        np.save(file, mask, allow_pickle=False)
        return base64.b64encode(file.getvalue()).decode("ascii")
    return mask


def _plain(value: Any) -> Any:
    """Arrays, also those of torch, as lists, and their numbers as those of Python."""
    return value.tolist() if hasattr(value, "tolist") else value
