import json
import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Box, Everything, LowResMask, Point, Prompt
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.prompt_arguments import prompt_content
from sampoll.inputs.usable_prompts import usable_prompts

FIELDS = (
    "points",
    "point_labels",
    "box",
    "mask",
    "refine",
    "everything",
    "text",
    "score_thresh",
    "label",
    "id",
)
LIMITS = LimitSettings(max_points=10, max_prompt_bytes=2_000_000)


def read(**arguments: Any) -> tuple[Prompt, ...]:
    """The prompts that a model gets."""
    content = prompt_content(arguments, LIMITS)
    return usable_prompts(content, "", DecodingOptions(LIMITS)).inside((50, 60)).prompts


@pytest.mark.parametrize(
    "points",
    [
        [(1, 2), (3.5, 4)],
        np.array([[1, 2], [3.5, 4]], np.float32),
        torch.tensor([[1, 2], [3.5, 4]]),
        [np.array([1, 2]), (np.float32(3.5), np.int64(4))],
    ],
)
def test_points_are_pairs_with_labels_beside_them(points: Any) -> None:
    [given] = read(points=points, point_labels=np.array([1, 0]), label="cat", id="7")
    [left_out] = read(points=points)

    assert given == Prompt((Point(1, 2, 1), Point(3.5, 4, 0)), label="cat", id="7")
    assert [point.label for point in left_out.points] == [1, 1]


@pytest.mark.parametrize("box", [(1, 2, 30, 40), np.array([1.0, 2, 30, 40]), Box(1, 2, 30, 40)])
def test_a_box_is_four_numbers(box: Any) -> None:
    assert read(box=box) == (Prompt(box=Box(1, 2, 30, 40)),)


def test_everything_and_words_are_fields_of_a_prompt() -> None:
    content = prompt_content({"everything": True}, LIMITS)
    assert content == prompt_content({"everything": {}}, LIMITS) == b'{"everything":{}}'
    assert content == prompt_content({"everything": np.True_}, LIMITS)
    assert read(everything=Everything(2)) == read(everything={"points_per_side": 2})
    assert read(everything=False, box=(1, 2, 3, 4)) == read(box=(1, 2, 3, 4))
    assert read(everything={"points_per_side": 2})[0].everything == Everything(points_per_side=2)
    assert read(text="a cat", score_thresh=0.5) == (Prompt(text="a cat", score_thresh=0.5),)


def test_a_mask_is_an_array_of_logits_or_what_a_prompt_file_has() -> None:
    logits = np.linspace(-3, 3, 256 * 256, dtype=np.float32).reshape(1, 256, 256)

    [prompt] = read(mask=logits, refine=2)
    assert isinstance(prompt.mask, LowResMask)
    assert np.array_equal(prompt.mask.logits, logits[0])
    assert prompt.refine == 2
    assert read(mask=prompt.mask) == read(mask=logits)


def test_many_prompts_are_a_list_of_either_form() -> None:
    prompts = read(
        prompts=[
            {"points": [(1, 2)], "point_labels": [0], "label": "a"},
            {"points": [{"x": 1, "y": 2, "label": 0}], "label": "a"},
            Prompt((Point(1, 2, 0),), label="a"),
            {"box": {"x0": 1, "y0": 2, "x1": 3, "y1": 4}},
        ]
    )

    assert prompts == (*[Prompt((Point(1, 2, 0),), label="a")] * 3, Prompt(box=Box(1, 2, 3, 4)))


def test_an_entry_of_a_list_takes_what_the_arguments_take() -> None:
    left_out = dict.fromkeys(FIELDS)

    for label in ("cat", np.str_("cat")):
        assert (
            read(prompts=[left_out | {"box": np.array([1, 2, 3, 4]), "label": label}])
            == read(**(left_out | {"box": (1, 2, 3, 4), "label": label}))
            == (Prompt(box=Box(1, 2, 3, 4), label="cat"),)
        )
    assert read(prompts=[{"box": (1, 2, 3, 4), "everything": np.False_}])[0].everything is None


def test_a_mask_may_be_a_tensor() -> None:
    logits = np.linspace(-3, 3, 256 * 256, dtype=np.float32).reshape(256, 256)

    assert read(mask=torch.from_numpy(logits)) == read(mask=logits)


def test_without_prompts_the_content_is_that_of_a_prompt_file() -> None:
    content = prompt_content({"points": [(1, 2)], "label": "cat", "box": None}, LIMITS)

    assert json.loads(content) == {"points": [{"x": 1, "y": 2, "label": 1}], "label": "cat"}


class Broken(Sequence[Any]):
    """Whatever it is asked for, it raises."""

    def __len__(self) -> int:
        raise RuntimeError("it is broken")

    def __getitem__(self, _: Any) -> Any:
        raise RuntimeError("it is broken")

    def tolist(self) -> list[Any]:
        raise RuntimeError("it is broken")


def nested(levels: int) -> list[Any]:
    """A list in a list, and so on."""
    return [nested(levels - 1)] if levels else []


NESTED = nested(40)
NO_VALUE = "must be text, a number, a list or a mapping"
TOO_MUCH = "takes more than 2000000 bytes as JSON (--max-prompt-bytes)"
EXAMPLE = 'for example, {"box": {"x0": 10, "y0": 20, "x1": 30, "y1": 40}}'
TOO_MANY_POINTS = (
    'has 11 points, at most 10 are allowed in a file (--max-points); the grid of "everything" counts too'
)
NEEDED = f'needs "points" (at least one), a "box", a "mask", "everything" or "text": write, {EXAMPLE}'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, NEEDED),
        ({"label": "cat"}, NEEDED),
        ({"points": [(70, 2)]}, "points[0]: (70, 2) lies outside the image of 60x50 pixels"),
        ({"points": [(1, 2), (3,)]}, "points[1]: must be (x, y)"),
        ({"points": (1, 2)}, "points[0]: must be (x, y)"),
        ({"points": [(1, float("nan"))]}, "points[0][1]: must be a finite number"),
        ({"points": [(1, np.float32("inf"))]}, "points[0][1]: must be a finite number"),
        ({"points": [(1, "2")]}, "points[0].y: must be a number: write 2"),
        ({"points": [(1, 2)] * 11, "box": (1, 2, 3, 4)}, TOO_MANY_POINTS),
        ({"points": [(1, 2)], "point_labels": [1, 0]}, "point_labels: are 2, and there are 1 points"),
        ({"points": [(1, 2)], "point_labels": 1}, "point_labels: must be a list"),
        (
            {"points": [(1, 2)], "point_labels": [2]},
            "point_labels[0]: must be 0 (background) or 1 (foreground)",
        ),
        ({"box": (1, 2, 3, 4), "point_labels": [1]}, "point_labels: are given, and no points"),
        (
            {"points": [(1, 2), Point(1, 2, 1)], "point_labels": [1, 0]},
            "point_labels: are given, and points[1] has a label of its own",
        ),
        (
            {"prompts": [{"points": [{"x": 1, "y": 2, "label": 1}], "point_labels": [0]}]},
            "prompts[0].point_labels: are given, and points[0] has a label of its own",
        ),
        ({"box": (1, 2, 3, 4), "score_thresh": math.nan}, "score_thresh: must be a finite number"),
        ({"text": "a", "score_thresh": np.float32("inf")}, "score_thresh: must be a finite number"),
        (
            {"prompts": [{"points": [{"x": 1, "y": math.nan, "label": 1}]}]},
            "prompts[0].points[0].y: must be a finite number",
        ),
        (
            {"everything": {"iou_thresh": -math.inf}},
            "everything.iou_thresh: must be a finite number",
        ),
        ({"box": (1, 2, 3)}, "box: must be (x0, y0, x1, y1)"),
        ({"box": [(1, 2, 3, 4)]}, "box: must be (x0, y0, x1, y1)"),
        ({"box": (3, 2, 1, 4)}, "box: x0 must be less than x1, got 3.0 and 1.0"),
        ({"prompts": []}, "prompts: must not be empty"),
        ({"prompts": {"box": (1, 2, 3, 4)}}, "prompts: must be a list"),
        ({"prompts": [{"box": (1, 2, 3)}]}, "prompts[0].box: must be (x0, y0, x1, y1)"),
        (
            {"prompts": [{"points": [(1, 2)], "point_labels": [2]}]},
            "prompts[0].point_labels[0]: must be 0 (background) or 1 (foreground)",
        ),
        ({"prompts": [{"box": (1, 2, 3, 4)}, 5]}, f"prompts[1]: must be a JSON object: write, {EXAMPLE}"),
        (
            {"prompts": [{"box": (1, 2, 3, 4)}], "label": "cat"},
            "prompts: cannot be combined with label: write them into each",
        ),
        ({"text": "x" * 300}, "text: has more than 256 characters"),
        ({"label": b"cat", "box": (1, 2, 3, 4)}, f"label: {NO_VALUE}, and is bytes"),
        ({"id": 2**65, "box": (1, 2, 3, 4)}, "id: must be a number of at most 64 bits"),
        ({"text": "\ud800"}, "text: must be text in UTF-8"),
        ({"box": (1, 2, 3, 4j)}, f"box[3]: {NO_VALUE}, and is complex"),
        ({"points": zip([1], [2], strict=True)}, f"points: {NO_VALUE}, and is zip"),
        (
            {"everything": {5: 2}},
            "everything: must have keys that are text, and has one that is int",
        ),
        (
            {"everything": Everything(pred_iou_thresh=math.nan)},
            "everything.pred_iou_thresh: must be a finite number",
        ),
        (
            {"prompts": [{"box": (1, 2, 3, 4)}, {"box": (1, 2, 3, 4), "label": {1}}]},
            f"prompts[1].label: {NO_VALUE}, and is set",
        ),
        (
            {"prompts": [{5: (1, 2, 3, 4)}]},
            "prompts[0]: must have keys that are text, and has one that is int",
        ),
        ({"box": Broken()}, "box: cannot be read: RuntimeError: it is broken"),
        ({"prompts": Broken()}, "prompts: cannot be read: RuntimeError: it is broken"),
        (
            {"prompts": [{"points": Broken()}]},
            "prompts[0].points: cannot be read: RuntimeError: it is broken",
        ),
        ({"points": np.broadcast_to(0, (10**9, 2))}, f"points: {TOO_MUCH}"),
        ({"points": NESTED}, f"points{'[0]' * 16}: is nested too deeply"),
        (
            {"mask": np.zeros((5, 5))},
            "mask: must hold floats of shape (256, 256), and holds float64 of shape (5, 5)",
        ),
        (
            {"mask": [[0.0] * 256] * 256},
            "mask: must be an array of floats of shape (256, 256), and is list",
        ),
    ],
)
def test_a_bad_prompt_is_refused_as_in_a_file_by_the_name_of_its_argument(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadPrompt) as refused:
        read(**arguments)

    assert str(refused.value) == message


def test_a_prompt_that_is_too_large_is_refused() -> None:
    with pytest.raises(BadPrompt, match=r"the prompt as JSON: has 24 bytes, more than 10 \(--max-prompt"):
        prompt_content({"label": "cat", "id": "7"}, LimitSettings(max_prompt_bytes=10))


JSON_LIKE = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.floats()
    | strategies.integers()
    | strategies.text(max_size=5)
    | strategies.binary(max_size=3)
    | strategies.sampled_from([np.zeros(0), np.ones((2, 2)), np.array(["a"]), np.float32("nan"), object()]),
    lambda inner: (
        strategies.lists(inner, max_size=4)
        | strategies.tuples(inner, inner)
        | strategies.dictionaries(strategies.sampled_from([*FIELDS, "x", "y", 5]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(strategies.dictionaries(strategies.sampled_from([*FIELDS, "prompts"]), JSON_LIKE, max_size=4))
@settings(max_examples=300, deadline=None)
def test_whatever_is_given_is_a_prompt_or_refused(arguments: dict[str, Any]) -> None:
    with suppress(BadPrompt):
        assert read(**arguments)
