"""What messages about wrong prompts say to write instead."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.process import REPOSITORY

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Box, Point, Prompt
from sampoll.inputs.prompt_file import parse_prompts

CORNERS = [10, 20.5, 30, 40]
BOX = '{"x0": 10, "y0": 20.5, "x1": 30, "y1": 40}'
GOOD = json.loads(BOX)
KNOWN = "box, everything, id, label, mask, points, refine, score_thresh, text"
ANY_BOX = '{"x0": 10, "y0": 20, "x1": 30, "y1": 40}'
NOT_SIZE = " (corners, not width and height)"
NO_OBJECT = 'must be a JSON object such as {"points": [...]} or {"box": {...}}'


def refusal(document: Any) -> str:
    """The message about a document, without the name of its file."""
    with pytest.raises(BadPrompt) as refused:
        parse_prompts(json.dumps(document).encode(), "a.json", LimitSettings())
    return str(refused.value).removeprefix("a.json: ")


BOXES: dict[str, Any] = {
    "a list": CORNERS,
    "a list in a list": [CORNERS],
    "two corners": [CORNERS[:2], CORNERS[2:]],
    "a string": "10, 20.5, 30, 40",
    "a list in a string": "[10 20.5 30 40]",
}


@pytest.mark.parametrize("name", BOXES)
def test_a_box_of_four_numbers_is_told_in_the_form_of_a_prompt(name: str) -> None:
    assert refusal({"box": BOXES[name]}) == f"box: must be a JSON object: write {BOX}{NOT_SIZE}"
    assert refusal({"prompts": [{"box": GOOD}, {"bbox": BOXES[name]}]}) == (
        f'prompts[1].bbox: is not a known key; did you mean box? Write "box": {BOX}{NOT_SIZE}'
    )


@pytest.mark.parametrize(
    "names", ["x1 y1 x2 y2", "xmin ymin xmax ymax", "x_min y_min x_max y_max", "left top right bottom"]
)
def test_corners_with_other_names_are_told_with_ours(names: str) -> None:
    corners = dict(zip(names.split(), CORNERS, strict=True))

    assert refusal({"box": corners}).endswith(f"is not a known key: write {BOX}{NOT_SIZE}")
    assert refusal(corners).endswith(f'is not a known key: write "box": {BOX}{NOT_SIZE}')


@pytest.mark.parametrize(
    "box", [[], [1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3, "4"], [1, 2, 3, True], [[1], [2, 3, 4]], "a", 7, True]
)
def test_a_box_that_is_not_understood_gets_an_example(box: Any) -> None:
    assert refusal({"box": box}) == f"box: must be a JSON object: write, for example, {ANY_BOX}"


def points(*labels: int, more: str = "") -> str:
    """Points at (1, 2.5), (3, 4.5), ..."""
    texts = [f'{{"x": {2 * n + 1}, "y": {2 * n + 2.5}, "label": {label}}}' for n, label in enumerate(labels)]
    return f"[{', '.join(texts)}{more}]"


PAIRS = [[1, 2.5], [3, 4.5], [5, 6.5], [7, 8.5]]
POINTS: dict[str, tuple[Any, str]] = {
    "one": (PAIRS[:1], points(1)),
    "a pair": (PAIRS[0], points(1)),
    "three": (PAIRS[:3], points(1, 1, 1)),
    "many": (PAIRS, points(1, 1, 1, more=", ...")),
    "in a batch": ([PAIRS[:2]], points(1, 1)),
    "with labels": ([[1, 2.5, 0], [3, 4.5, 1]], points(0, 1)),
    "with other words for labels": ([[1, 2.5, "background"], [3, 4.5, True]], points(0, 1)),
    "of two kinds": ([[1, 2.5], {"x": 3, "y": 4.5, "label": 0}], points(1, 0)),
}


@pytest.mark.parametrize("name", POINTS)
def test_pairs_of_numbers_are_told_as_points(name: str) -> None:
    value, form = POINTS[name]

    assert refusal({"points": value}) == f"points: must be a list of JSON objects: write {form}"
    assert refusal({"point_coords": value}) == (
        f'point_coords: is not a known key; did you mean points? Write "points": {form}'
    )


@pytest.mark.parametrize("labels", ["labels", "point_labels", "input_label", "label"])
@pytest.mark.parametrize("coordinates", ["points", "point_coords", "input_points"])
def test_labels_beside_the_coordinates_become_those_of_the_points(coordinates: str, labels: str) -> None:
    for document in (
        {coordinates: PAIRS[:2], labels: [1, 0]},
        {labels: [[1, 0]], coordinates: [PAIRS[:2]]},
        {labels: ["positive", False], coordinates: PAIRS[:2]},
    ):
        assert refusal(document).endswith(f" {points(1, 0)}")


@pytest.mark.parametrize("labels", [[1], [1, 2], [-1, 1], ["dog", "cat"], None])
def test_points_with_labels_that_are_not_understood_get_an_example(labels: Any) -> None:
    message = refusal({"point_coords": PAIRS[:2], "point_labels": labels})

    assert message.endswith('Write, for example, "points": [{"x": 10, "y": 20, "label": 1}]')


OTHERS: list[tuple[Any, str]] = [
    (
        {"points": [{"x": 1, "y": 2, "label": 1}, [3, 4]]},
        'points[1]: must be a JSON object: write {"x": 3, "y": 4, "label": 1}, or label 0 for the background',
    ),
    (
        {"points": {"x": 1, "y": 2, "label": 0}},
        'points: must be a list: write [{"x": 1, "y": 2, "label": 0}]',
    ),
    (
        {"points": [{"x": 1, "y": 2}]},
        'points[0].label: is missing: write {"x": 1, "y": 2, "label": 1}, or label 0 for the background',
    ),
    (
        {"points": [{"y": 2, "label": 1}]},
        'points[0].x: is missing: write, for example, {"x": 10, "y": 20, "label": 1}',
    ),
    (
        {"points": [{"x": 1, "y": 2, "label": "foreground"}]},
        "points[0].label: must be 0 (background) or 1 (foreground): write 1",
    ),
    (
        {"points": [{"x": 1, "y": 2, "label": "0"}]},
        "points[0].label: must be 0 (background) or 1 (foreground): write 0",
    ),
    (
        {"points": [{"x": 1, "y": 2, "label": -1}]},
        "points[0].label: must be 0 (background) or 1 (foreground)",
    ),
    (
        {"points": [{"x": 1, "y": 2, "lable": 0}]},
        "points[0].lable: is not a known key; did you mean label? "
        'Write, for example, {"x": 10, "y": 20, "label": 1}',
    ),
    (
        {"points": [{"x": 1, "y": 2, "label": 0, "z": 3}]},
        'points[0].z: is not a known key: write {"x": 1, "y": 2, "label": 0}',
    ),
    ({"x": 1, "y": 2}, 'x: is not a known key: write "points": [{"x": 1, "y": 2, "label": 1}]'),
    (
        {"x": 1, "y": 2, "width": 3, "height": 4},
        f"x: is not a known key: known are {KNOWN}",
    ),
    ({"box": {"x": 1, "y": 2, "w": 3, "h": 4}}, f"box.x: is not a known key: write, for example, {ANY_BOX}"),
    ({"box": {"x0": 1}}, f"box.y0: is missing: write, for example, {ANY_BOX}"),
    ({"box": {**GOOD, "x0": "12"}}, "box.x0: must be a number: write 12"),
    ({"box": {**GOOD, "x0": " -1.50 "}}, "box.x0: must be a number: write -1.5"),
    ({"box": {**GOOD, "x0": "left"}}, "box.x0: must be a number: write, for example, 10"),
    ({"box": GOOD, "refine": "2"}, "refine: must be a whole number: write 2"),
    ({"box": GOOD, "label": 5}, 'label: must be a string: write "5"'),
    ({"box": GOOD, "id": None, "label": None}, 'label: must be a string: write, for example, "dog"'),
    ({"everything": True}, 'everything: must be a JSON object: write, for example, {"points_per_side": 32}'),
    ({"prompt": "a cat"}, 'prompt: is not a known key; did you mean text? Write "text": "a cat"'),
    ({"caption": 7}, f"caption: is not a known key: known are {KNOWN}"),
    ({"text": 7}, 'text: must be a string: write "7"'),
    ({"text": ["cat"]}, 'text: must be a string: write, for example, "dog"'),
    (
        {"label": "cat"},
        'needs "points" (at least one), a "box", a "mask", "everything" or "text": '
        f'write, for example, {{"box": {ANY_BOX}}}',
    ),
    (
        {"boxes": [CORNERS, CORNERS]},
        "boxes: is not a known key; did you mean box? "
        f'Write "prompts": [{{"box": {BOX}}}, {{"box": {BOX}}}]{NOT_SIZE}',
    ),
    ({"prompts": [CORNERS]}, f'prompts[0]: must be a JSON object: write {{"box": {BOX}}}{NOT_SIZE}'),
    ({"prompts": ["a"]}, f'prompts[0]: must be a JSON object: write, for example, {{"box": {ANY_BOX}}}'),
    ({"prompts": {"box": GOOD}}, f'prompts: must be a list: write, for example, [{{"box": {ANY_BOX}}}]'),
    (
        {"prompts": [{"box": GOOD}], "label": "a"},
        'label: is not a known key: beside "prompts" there may only be "$schema"; '
        "all else is written into each prompt",
    ),
    (CORNERS, f'{NO_OBJECT}: write {{"box": {BOX}}}{NOT_SIZE}'),
    (PAIRS[:2], f'{NO_OBJECT}: write {{"points": {points(1, 1)}}}'),
    ([CORNERS] * 3, f'{NO_OBJECT}: write {{"prompts": [{{"box": {BOX}}}, {{"box": {BOX}}}, ...]}}{NOT_SIZE}'),
    ([{"box": GOOD}], f'{NO_OBJECT}: write {{"prompts": [...]}} around this list'),
    ([{"x": 1, "y": 2.5, "label": 0}], f'{NO_OBJECT}: write {{"points": {points(0)}}}'),
    ([], NO_OBJECT),
    (None, NO_OBJECT),
]


@pytest.mark.parametrize(("document", "message"), OTHERS, ids=[json.dumps(each)[:60] for each, _ in OTHERS])
def test_a_message_says_what_to_write(document: Any, message: str) -> None:
    assert refusal(document) == message


@given(st.lists(st.integers(-1000, 1000) | st.floats(-1000, 1000), min_size=8, max_size=8))
def test_what_a_message_says_to_write_are_exactly_the_numbers(numbers: list[float]) -> None:
    def written(document: Any) -> Any:
        return json.loads(re.sub(r" \(corners.*", "", refusal(document).partition("write ")[2]))

    for box, four in ((numbers[:4], numbers[:4]), ([numbers[4:]], numbers[4:])):
        assert repr(list(written({"box": box}).values())) == repr(four)
    assert repr(written([numbers[:2]])) == repr({"points": [{"x": numbers[0], "y": numbers[1], "label": 1}]})


HUGE = -1.7976931348623157e308
HOSTILE: dict[str, Callable[[], Any]] = {
    "long numbers": lambda: {"boxes": [[HUGE] * 4] * 1000},
    "long points": lambda: {"prompts": [[[HUGE, HUGE]] * 1000]},
    "a long list": lambda: [HUGE] * 400_000,
    "a list of long numbers": lambda: [[HUGE] * 4] * 1000,
    "control characters in a key": lambda: {"\x1b[2J\n\u202e" * 1000: 1},
    "control characters in a label": lambda: {"points": [[1, 2, "\x1b[2J\n"]]},
    "a long string": lambda: {"box": "1," * 500_000},
    "digits": lambda: {"box": {"x0": "9" * 500_000}},
    "deep lists": lambda: {"box": json.loads("[" * 900 + "]" * 900)},
    "labels": lambda: {"points": [[1, 2]] * 1000, "labels": [0] * 1000},
    "keys": lambda: {f"labels {n}": [1] for n in range(900)},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_message_is_one_short_line_whatever_was_sent(name: str) -> None:
    document = HOSTILE[name]()
    started = time.process_time()

    message = refusal(document)

    assert len(message) < 300
    assert message.isprintable()
    assert time.process_time() - started < 2


def test_the_reason_of_an_error_is_its_message_without_what_to_write() -> None:
    error = BadPrompt("must be a JSON object", field="box", advice="write {}")

    assert (str(error), error.reason) == ("box: must be a JSON object: write {}", "must be a JSON object")


def test_what_messages_say_to_write_is_a_prompt() -> None:
    for message, prompt in (
        (refusal(CORNERS), Prompt(box=Box(10, 20.5, 30, 40))),
        (refusal(PAIRS[:1]), Prompt(points=(Point(1, 2.5, 1),))),
        (refusal([]) and refusal({"prompts": [None]}), Prompt(box=Box(10, 20, 30, 40))),
    ):
        form = re.sub(r" \(corners.*", "", message)
        content = form[form.rindex('{"box' if prompt.box else '{"points') :].encode()
        assert list(parse_prompts(content, "a.json", LimitSettings()).values()) == [prompt]


def test_the_page_about_prompts_shows_the_messages_as_they_are() -> None:
    page = (REPOSITORY / "docs" / "prompts.md").read_text()
    section = page.partition("## Coordinates of other tools")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\{.*\})` \| `(.*)` \|$", section, re.M)

    assert len(rows) >= 5
    for sent, message in rows:
        assert refusal(json.loads(sent)) == message
