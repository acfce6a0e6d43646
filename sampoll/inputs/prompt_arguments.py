"""Prompts that a program gives as arguments, as the content of a prompt file: so the same checks apply."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import LOW_RES_SIDE, Box, Everything, LowResMask, Point, Prompt
from sampoll.inputs.json_values import JsonValues, checked_key, reading
from sampoll.inputs.mask_prompt import check_logits, encode_mask_prompt
from sampoll.inputs.prompt_errors import MESSAGES, POINT_LABELS
from sampoll.inputs.prompt_file import prompts_document

Coordinates: TypeAlias = Sequence[float] | NDArray[Any]
PointLabels: TypeAlias = Sequence[int] | NDArray[Any]
BoxArgument: TypeAlias = Coordinates | Box | Mapping[str, float]
EverythingArgument: TypeAlias = bool | Everything | Mapping[str, Any]
Points: TypeAlias = Sequence[Coordinates | Point | Mapping[str, float]] | NDArray[Any]
MaskArgument: TypeAlias = LowResMask | NDArray[np.floating[Any]] | str
"""A mask prompt: low-res logits of shape (256, 256), or as a prompt file has it."""
PromptArgument: TypeAlias = Prompt | Mapping[str, Any]

PROMPTS, LABELS, MASK = "prompts", "point_labels", "mask"


def prompt_content(arguments: Mapping[str, Any], limits: LimitSettings) -> bytes:
    """The prompt file with these arguments, of which None are left out.

    They are the fields of a prompt, with points as (x, y), their labels beside them as `point_labels`, 1 if
    left out, and a box as (x0, y0, x1, y1); or `prompts`, a list of such mappings, of entries of a prompt
    file, or of Prompt. BadPrompt names the argument at fault, as far as the checks of a prompt file do not.
    """
    given = _given(arguments)
    prompts = given.pop(PROMPTS, None)
    values = JsonValues(limits.max_prompt_bytes)
    if prompts is None:
        document = _prompt(given, "", values)
    elif given:
        raise BadPrompt(f"cannot be combined with {', '.join(given)}: write them into each", field=PROMPTS)
    else:
        document = {PROMPTS: _each(prompts, values)}
    content = orjson.dumps(document)
    if len(content) > limits.max_prompt_bytes:
        raise BadPrompt(
            f"has {len(content)} bytes, more than {limits.max_prompt_bytes} (--max-prompt-bytes)",
            file="the prompt as JSON",
        )
    return content


def _given(arguments: Mapping[Any, Any]) -> dict[str, Any]:
    """Those that are not None."""
    return {checked_key(name): value for name, value in arguments.items() if value is not None}


def _each(prompts: Any, values: JsonValues) -> list[Any]:
    if isinstance(prompts, str | bytes | Mapping) or not isinstance(prompts, Sequence):
        raise BadPrompt(MESSAGES["list_type"], field=PROMPTS)
    with reading(PROMPTS):
        return [_of_list(prompt, f"{PROMPTS}[{index}]", values) for index, prompt in enumerate(prompts)]


def _of_list(prompt: Any, place: str, values: JsonValues) -> Any:
    if isinstance(prompt, Prompt):
        return prompts_document([prompt])[0]
    if not isinstance(prompt, Mapping):
        return values.of(prompt, place)
    with reading(place):
        given = _given(prompt)
    return _prompt(given, f"{place}.", values)


def _prompt(given: dict[str, Any], place: str, values: JsonValues) -> dict[str, Any]:
    """One prompt as in a prompt file; what is not understood stays as it is, and is refused when it is
    read."""
    mask = _mask(given.pop(MASK), f"{place}{MASK}") if MASK in given else None
    prompt = {name: values.of(value, f"{place}{name}") for name, value in given.items()}
    if "points" in prompt:
        prompt["points"] = _points(prompt["points"], prompt.pop(LABELS, None), place)
    elif LABELS in prompt:
        raise BadPrompt("are given, and no points", field=f"{place}{LABELS}")
    if "box" in prompt:
        prompt["box"] = _box(prompt["box"], f"{place}box")
    if mask is not None:
        prompt[MASK] = mask
    if prompt.get("everything") is True:
        prompt["everything"] = {}
    elif prompt.get("everything") is False:
        del prompt["everything"]
    return prompt


def _points(points: Any, labels: Any, place: str) -> Any:
    """The points with their labels; `labels` is None if each is on the object, or has its own."""
    if not isinstance(points, list):
        return points
    if labels is None:
        labels = [1] * len(points)
    else:
        _check_labels(labels, points, place)
    each = zip(points, labels, strict=True)
    return [_point(point, int(label), f"{place}points[{i}]") for i, (point, label) in enumerate(each)]


def _check_labels(labels: Any, points: list[Any], place: str) -> None:
    if not isinstance(labels, list):
        raise BadPrompt(MESSAGES["list_type"], field=f"{place}{LABELS}")
    if len(labels) != len(points):
        raise BadPrompt(f"are {len(labels)}, and there are {len(points)} points", field=f"{place}{LABELS}")
    for index, (label, point) in enumerate(zip(labels, points, strict=True)):
        if not isinstance(label, int | float) or label not in (0, 1):
            raise BadPrompt(POINT_LABELS, field=f"{place}{LABELS}[{index}]")
        if isinstance(point, dict):
            raise BadPrompt(
                f"are given, and points[{index}] has a label of its own", field=f"{place}{LABELS}"
            )


def _point(point: Any, label: int, place: str) -> dict[str, Any]:
    if isinstance(point, dict):
        return point
    x, y = _numbers(point, ("x", "y"), place)
    return {"x": x, "y": y, "label": label}


def _box(box: Any, place: str) -> dict[str, Any]:
    if isinstance(box, dict):
        return box
    names = ("x0", "y0", "x1", "y1")
    return dict(zip(names, _numbers(box, names, place), strict=True))


def _numbers(values: Any, names: Sequence[str], place: str) -> list[Any]:
    """As many numbers as there are names."""
    if not isinstance(values, list) or len(values) != len(names):
        raise BadPrompt(f"must be ({', '.join(names)})", field=place)
    return values


def _mask(mask: Any, place: str) -> str:
    """The mask as a prompt file has it."""
    if isinstance(mask, str):
        return mask
    if isinstance(mask, LowResMask):
        return encode_mask_prompt(mask)
    if not hasattr(mask, "tolist"):
        side = LOW_RES_SIDE
        raise BadPrompt(
            f"must be an array of floats of shape ({side}, {side}), and is {type(mask).__name__}", field=place
        )
    with reading(place):
        logits = np.asarray(mask)
    try:
        check_logits(logits.shape, logits.dtype)
    except ValueError as error:
        raise BadPrompt(str(error), field=place) from error
    file = io.BytesIO()
    np.save(file, logits, allow_pickle=False)
    return base64.b64encode(file.getvalue()).decode("ascii")
