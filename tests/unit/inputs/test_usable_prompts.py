"""Which prompts of a file are segmented, and which are skipped."""

import json
from typing import Any

import pytest
from support.folders import BOX

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import SkippedPrompt
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.usable_prompts import UsablePrompts, usable_prompts

SKIP = DecodingOptions(
    LimitSettings(max_prompts=20, max_points=30, max_points_per_prompt=5),
    on_bad_prompt="skip",
    model="boxes",
    prompt_kinds=("points", "box"),
)
SIZE = (24, 32)
POINT = {"x": 1, "y": 1, "label": 1}
BAD: dict[str, Any] = {
    "no object": 7,
    "nothing": {},
    "an unknown key": {**BOX, "bx": 1},
    "a reversed box": {"box": {"x0": 9, "y0": 1, "x1": 1, "y1": 5}},
    "a box outside": {"box": {"x0": 40, "y0": 1, "x1": 50, "y1": 5}},
    "a point outside": {"points": [{"x": 32, "y": 1, "label": 1}]},
    "a label of points": {"points": [{"x": 1, "y": 1, "label": 2}]},
    "too many points": {"points": [POINT] * 6},
    "a kind that the model does not take": {"everything": {"points_per_side": 2}},
    "a mask that is none": {"mask": "!"},
    "an empty label": {**BOX, "label": ""},
}


def usable(*prompts: Any, options: DecodingOptions = SKIP) -> UsablePrompts:
    content = json.dumps({"prompts": prompts}).encode()
    return usable_prompts(content, "cat.json", options).inside(SIZE)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_prompt_costs_only_itself(bad: Any) -> None:
    named = {**bad, "id": "b"} if isinstance(bad, dict) else bad

    found = usable({**BOX, "id": "a"}, named, {**BOX, "id": "c"})

    assert [prompt.id for prompt in found.prompts] == ["a", "c"]
    [skipped] = found.skipped
    assert (skipped.index, skipped.id) == (1, "b" if isinstance(bad, dict) else None)
    assert skipped.field.startswith("prompts[1]")
    assert skipped.message.startswith(f"cat.json: {skipped.field}: ")


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_unless_it_is_to_be_skipped_it_costs_the_file(bad: Any) -> None:
    with pytest.raises(BadPrompt, match=r"cat\.json: prompts\[1\]"):
        usable(BOX, bad, options=DecodingOptions(SKIP.limits, model="boxes", prompt_kinds=SKIP.prompt_kinds))


def test_the_reason_is_that_with_which_the_pair_would_fail() -> None:
    found = usable(BOX, {"box": {"x0": 40, "y0": 1, "x1": 50, "y1": 5}, "id": "far"})

    message = "cat.json: prompts[1].box: lies outside the image of 32x24 pixels"
    assert found.skipped == (SkippedPrompt(1, "far", "prompts[1].box", message),)


@pytest.mark.parametrize("name", ["an unknown key", "too many points", "a box outside"])
def test_an_id_that_is_a_whole_number_is_repeated_as_text(name: str) -> None:
    assert usable(BOX, {**BAD[name], "id": 7}).skipped[0].id == "7"


def test_the_reason_of_a_skipped_prompt_says_what_to_write() -> None:
    found = usable(BOX, {"box": [1, 2, 3, 4]})

    assert 'write {"x0": 1, "y0": 2, "x1": 3, "y1": 4}' in found.skipped[0].message


@pytest.mark.parametrize("identity", [1.5, None, "x" * 1001, ["a"]])
def test_an_id_that_is_none_is_not_repeated(identity: Any) -> None:
    assert usable(BOX, {"id": identity}).skipped[0].id is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"prompts": {}}', "prompts: must be a list"),
        ('{"prompts": []}', "prompts: must not be empty"),
        (json.dumps({"prompts": [BOX], "more": 1}), "more: is not a known key"),
        (json.dumps({"prompts": [BOX] * 21}), "has 21 prompts"),
        (json.dumps({"prompts": [{"points": [POINT] * 5}] * 7}), "has 35 points"),
        (
            json.dumps({"bx": 1}),
            r"^cat\.json: bx: is not a known key; did you mean box\? Write, for example, ",
        ),
    ],
)
def test_a_file_that_is_bad_itself_is_refused(content: str, message: str) -> None:
    with pytest.raises(BadPrompt, match=message):
        usable_prompts(content.encode(), "cat.json", SKIP)


def test_a_file_without_any_good_prompt_is_refused_with_the_first_errors() -> None:
    with pytest.raises(BadPrompt) as refused:
        usable({}, *[{"box": 1}] * 11)

    assert refused.value.field == "prompts"
    message = str(refused.value)
    assert message.startswith("cat.json: prompts: none of the 12 prompts can be used: prompts[0]: needs ")
    assert "; prompts[9].box: must be a JSON object; and 2 more" in message
    assert "prompts[10]" not in message


def test_the_error_of_a_file_with_a_single_prompt_is_that_of_the_prompt() -> None:
    with pytest.raises(BadPrompt, match=r"^cat\.json: prompts\[0\]\.box: lies outside the image"):
        usable({"box": {"x0": 40, "y0": 1, "x1": 50, "y1": 5}})
