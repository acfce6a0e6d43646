"""What the commands of the SAM image took as a prompt, and what it becomes."""

import json
from typing import Any

import pytest
from support.images import encoded, image_of

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Box, Point, Prompt, Submission
from sampoll.inputs.decode import decode
from sampoll.inputs.old_prompt import read_old_prompts
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.prompt_file import good_prompts, parse_prompts

POINTS = {"points": [{"x": 3, "y": 4, "label": 1}]}
POINT = Prompt(points=(Point(3, 4, 1),))
BOX = {"box": {"x0": 1, "y0": 2, "x1": 9, "y1": 8}}
BOXED = Prompt(box=Box(1, 2, 9, 8))


def parse(document: Any, limits: LimitSettings | None = None) -> list[Prompt]:
    content = json.dumps(document).encode()
    return list(good_prompts(read_old_prompts(content, "a.prompt", limits or LimitSettings())).values())


TAKEN: dict[str, tuple[Any, Prompt]] = {
    "points": (POINTS, POINT),
    "a box": (BOX, BOXED),
    "a foreign key": ({**POINTS, "comment": {"by": "me"}}, POINT),
    "foreign keys of points": ({"points": [{"x": 3, "y": 4, "label": 1, "z": "?"}]}, POINT),
    "foreign keys of a box": ({"box": {**BOX["box"], "angle": 0}}, BOXED),
    "a label that is a boolean": ({**POINTS, "label": True}, POINT),
    "a label that is a number": ({**BOX, "label": 5}, BOXED),
    "an empty label": ({**BOX, "label": ""}, BOXED),
    "a label": ({**BOX, "label": "cat"}, Prompt(box=Box(1, 2, 9, 8), label="cat")),
    "an id that is a list": ({**POINTS, "id": [17]}, POINT),
    "a mask that is a file name": ({**POINTS, "mask": "mask.png"}, POINT),
    "a mask that is a number": ({**POINTS, "mask": 1}, POINT),
    "refine with another meaning": ({**POINTS, "refine": "edges"}, POINT),
    "refine": ({**POINTS, "refine": 2}, Prompt(points=(Point(3, 4, 1),), refine=2)),
    "everything with another meaning": ({**POINTS, "everything": True}, POINT),
    "prompts with another meaning": ({**POINTS, "prompts": 1}, POINT),
    "a box beside points that is none": ({**POINTS, "box": "later"}, POINT),
    "null for a box": ({**POINTS, "box": None}, POINT),
    "null for points": ({**BOX, "points": None}, BOXED),
    "labels that are booleans": (
        {"points": [{"x": 3, "y": 4, "label": True}, {"x": 1, "y": 1, "label": False}]},
        Prompt(points=(Point(3, 4, 1), Point(1, 1, 0))),
    ),
    "labels with fractions": ({"points": [{"x": 3, "y": 4, "label": 1.5}]}, POINT),
    "points that are no points": (
        {
            "points": [
                {"x": 3, "y": 4, "label": 1},
                {"x": 9, "y": 9, "label": -1},
                {"x": 9, "y": 9, "label": 2},
            ]
        },
        POINT,
    ),
    "numbers in strings": ({"points": [{"x": "3", "y": " 4.0", "label": 1}]}, POINT),
    "booleans for numbers": ({"points": [{"x": True, "y": 0, "label": 1}]}, Prompt(points=(Point(1, 0, 1),))),
    "corners in the other order": ({"box": {"x0": 9, "y0": "8", "x1": 1, "y1": 2}}, BOXED),
    "a box without a width": ({"box": {**BOX["box"], "x1": 1}}, Prompt(box=Box(1, 2, 2, 8))),
    "coordinates outside of any image": (
        {"points": [{"x": -7, "y": 1e6, "label": 1}]},
        Prompt(points=(Point(-7, 1e6, 1),)),
    ),
    "one of a list of prompts": ({"prompts": [{**BOX, "label": 5}], "by": "me"}, BOXED),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_the_old_commands_took_is_taken(name: str) -> None:
    document, expected = TAKEN[name]

    assert parse(document) == [expected]


REFUSED: dict[str, tuple[Any, str]] = {
    "no prompt": ({"comment": "?"}, "needs"),
    "no points": ({"points": []}, "needs"),
    "a point without a label": ({"points": [{"x": 1, "y": 1}]}, r"points\[0\]\.label: is missing"),
    "labels that are strings": ({"points": [{"x": 1, "y": 1, "label": "1"}]}, "must be 0 .* or 1"),
    "only points of another kind": ({"points": [{"x": 1, "y": 1, "label": 2}]}, "must be 0 .* or 1"),
    "points that are none": ({"points": "none"}, "points: must be a list"),
    "a word for a number": (
        {"points": [{"x": "left", "y": 1, "label": 1}]},
        r"points\[0\]\.x: must be a number",
    ),
    "NaN in a string": ({"points": [{"x": "nan", "y": 1, "label": 1}]}, r"points\[0\]\.x: must be a number"),
    "a box without a corner": ({"box": {"x0": 1, "y0": 1, "x1": 2}}, "box.y1: is missing"),
    "a list": ([POINTS], "must be a JSON object"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_old_commands_failed_on_is_refused_with_a_reason(name: str) -> None:
    document, message = REFUSED[name]

    with pytest.raises(BadPrompt, match=message):
        parse(document)


def test_the_limits_hold() -> None:
    points = {"points": POINTS["points"] * 3}

    with pytest.raises(BadPrompt, match="has 3 points, at most 2"):
        parse(points, LimitSettings(max_points_per_prompt=2))
    with pytest.raises(BadPrompt, match="has 300 masks"):
        parse({"prompts": [{**BOX, "mask": "mask.png"}] * 300})


def test_prompts_of_today_are_the_same_prompts() -> None:
    document = {
        "prompts": [{**POINTS, **BOX, "label": "cat", "id": "7"}, {"everything": {"points_per_side": 8}}]
    }

    assert parse(document) == list(parse_prompts(json.dumps(document).encode(), "", LimitSettings()).values())


@pytest.mark.parametrize(
    "prompt",
    [
        {"points": [{"x": 32, "y": 24, "label": 1}]},
        {"points": [{"x": -100, "y": 1000, "label": 1}]},
        {"box": {"x0": -5, "y0": -5, "x1": 100, "y1": 100}},
        {"box": {"x0": 50, "y0": 50, "x1": 60, "y1": 60}},
    ],
)
def test_places_outside_of_the_image_are_taken_as_they_are(prompt: Any) -> None:
    submission = Submission(
        "1", "a", "a.jpg", "a.prompt", encoded(image_of()), json.dumps(prompt).encode(), ""
    )

    job = decode(submission, DecodingOptions(takes_old_prompts=True))

    assert list(job.prompts) == parse(prompt)


@pytest.mark.parametrize(
    ("content", "is_taken"),
    [
        (b'{"points": [], "points": [{"x": 3, "y": 4, "label": 1}]}', True),
        (b'\xef\xbb\xbf{"points": [{"x": 3, "y": 4, "label": 1}]}', True),
        (b'{"by": NaN, "points": [{"x": 3, "y": 4, "label": 1}]}', False),
        (b'{"by": Infinity, "points": [{"x": 3, "y": 4, "label": 1}]}', False),
        (b'{"by": "\\ud800", "points": [{"x": 3, "y": 4, "label": 1}]}', False),
        (b'{"points": [{"x": 1e10, "y": 4, "label": 1}]}', False),
        (b'{"points": [{"x": null, "y": 4, "label": 1}]}', False),
    ],
)
def test_what_is_json_is_taken(content: bytes, is_taken: bool) -> None:
    if is_taken:
        assert list(good_prompts(read_old_prompts(content, "a.prompt", LimitSettings())).values()) == [POINT]
    else:
        with pytest.raises(BadPrompt, match=r"is not JSON|must be a number|less than or equal"):
            good_prompts(read_old_prompts(content, "a.prompt", LimitSettings()))


def test_points_and_a_box_count_together() -> None:
    [prompt] = parse({**POINTS, **BOX})

    assert (prompt.points, prompt.box) == (POINT.points, BOXED.box)
