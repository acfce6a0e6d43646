import json
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import MAX_TEXT_CHARACTERS, TEXT_PATTERN, Box, Everything, Point, Prompt
from sampoll.inputs.old_prompt import read_old_prompts
from sampoll.inputs.prompt_file import (
    MAX_MASKS,
    PlacedPrompt,
    good_prompts,
    parse_prompts,
    prompts_document,
    read_prompts,
)

LIMITS = LimitSettings(max_prompts=100, max_points=100, max_points_per_prompt=20)


def parse(document: object, limits: LimitSettings = LIMITS) -> tuple[Prompt, ...]:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return tuple(parse_prompts(content, "cat.json", limits).values())


POINT = {"x": 1, "y": 2.5, "label": 1}
BOX = {"x0": 0, "y0": 1.5, "x1": 10, "y1": 20}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"points": [POINT]}, Prompt(points=(Point(1, 2.5, 1),))),
        (
            {"points": [POINT, {"x": 0, "y": 0, "label": 0}]},
            Prompt(points=(Point(1, 2.5, 1), Point(0, 0, 0))),
        ),
        ({"box": BOX}, Prompt(box=Box(0, 1.5, 10, 20))),
        ({"points": [], "box": BOX}, Prompt(box=Box(0, 1.5, 10, 20))),
        ({"points": [POINT], "box": None}, Prompt(points=(Point(1, 2.5, 1),))),
        ({"points": [POINT], "box": BOX}, Prompt(points=(Point(1, 2.5, 1),), box=Box(0, 1.5, 10, 20))),
        ({"box": BOX, "label": "cat", "id": "7"}, Prompt(box=Box(0, 1.5, 10, 20), label="cat", id="7")),
        ({"points": [{"x": 1.0, "y": 2.5, "label": 1.0}]}, Prompt(points=(Point(1, 2.5, 1),))),
        ({"box": BOX, "id": 7}, Prompt(box=Box(0, 1.5, 10, 20), id="7")),
        ({"box": BOX, "id": -7.0}, Prompt(box=Box(0, 1.5, 10, 20), id="-7")),
        ({"text": "a cat"}, Prompt(text="a cat", label="a cat")),
        ({"text": "cat", "score_thresh": 1}, Prompt(text="cat", score_thresh=1.0)),
        ({"text": "cat", "label": "object"}, Prompt(text="cat", label="object")),
    ],
)
def test_a_single_prompt_is_read(document: object, expected: Prompt) -> None:
    assert parse(document) == (expected,)


def test_many_prompts_keep_their_order() -> None:
    prompts = parse({"prompts": [{"box": BOX, "id": "b"}, {"points": [POINT], "id": "a"}]})

    assert [prompt.id for prompt in prompts] == ["b", "a"]


@pytest.mark.parametrize("document", [{"box": BOX}, {"prompts": [{"box": BOX}]}])
def test_the_schema_that_an_editor_uses_changes_nothing(document: dict[str, Any]) -> None:
    assert parse({"$schema": "./prompt.schema.json", **document}) == parse(document)


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse(b"\xef\xbb\xbf" + json.dumps({"box": BOX}).encode()) == parse({"box": BOX})


@pytest.mark.parametrize("id", [True, 7.5, [7], {}])
def test_an_id_that_is_neither_text_nor_a_whole_number_is_refused(id: object) -> None:
    with pytest.raises(BadPrompt, match=r"cat\.json: id: must be a string"):
        parse({"box": BOX, "id": id})


@pytest.mark.parametrize(
    "document",
    [
        '{"box": BOX, "box": BOX}',
        '\ufeff{"prompts": [{"box": BOX}, {"label": "a", "box": BOX, "label": "a"}]}',
        '{"points": [{"x": 1, "y": 2, "label": 1, "x": 3}]}',
        '{"box": BOX, "b\\u006fx": BOX}',
    ],
)
def test_a_key_that_is_there_twice_is_refused_but_by_the_old_commands(document: str) -> None:
    content = document.replace("BOX", json.dumps(BOX)).encode()

    with pytest.raises(BadPrompt, match=r'cat\.json: has the key "(box|label|x)" twice in one object'):
        parse_prompts(content, "cat.json", LIMITS)
    assert good_prompts(read_old_prompts(content, "cat.json", LIMITS))


def test_colons_in_texts_are_no_keys() -> None:
    assert len(parse({"box": BOX, "label": "a: b", "id": ":"})) == 1


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "cat.json: is not JSON in UTF-8"),
        (b"\xff\xfe{\x00}\x00", "cat.json: is not JSON in UTF-8"),
        (b'{"points": [{"x": NaN, "y": 1, "label": 1}]}', "cat.json: is not JSON"),
        (b'{"box": {"x0": 1e999, "y0": 0, "x1": 1, "y1": 1}}', "cat.json: is not JSON"),
        (b"[" * 1100 + b"]" * 1100, "cat.json: is not JSON"),
        ([POINT], "cat.json: must be a JSON object such as"),
        ({}, 'cat.json: needs "points" (at least one), a "box", a "mask", "everything" or "text"'),
        ({"points": []}, 'cat.json: needs "points"'),
        ({"refine": 2}, 'cat.json: needs "points"'),
        ({"text": "cat", "refine": 2, "box": BOX}, '"text" cannot be combined with "box" and "refine"'),
        (
            {"text": "cat", "everything": {"points_per_side": 1}},
            '"everything" cannot be combined with "text"',
        ),
        ({"box": BOX, "score_thresh": 0.5}, 'cat.json: "score_thresh" is for "text" only'),
        ({"text": ""}, "cat.json: text: must not be empty"),
        ({"text": " \u3000\u200b"}, "cat.json: text: must have something to read"),
        ({"text": "a\ncat"}, "cat.json: text: must have something to read, and no control characters"),
        ({"text": "a cat\u2028"}, "cat.json: text: must have something to read"),
        ({"text": "a" * 257}, "cat.json: text: has more than 256 characters"),
        ({"text": "cat", "score_thresh": "0.5"}, "cat.json: score_thresh: must be a number: write 0.5"),
        ({"prompts": []}, "cat.json: prompts: must not be empty"),
        ({"prompts": [{"box": BOX}], "label": "x"}, "cat.json: label: is not a known key"),
        ({"prompts": [{"box": BOX}, {}]}, 'cat.json: prompts[1]: needs "points"'),
        ({"$schema": 1, "box": BOX}, "cat.json: $schema: must be a string"),
        ({"prompts": [{"$schema": "s", "box": BOX}]}, "cat.json: prompts[0].$schema: is not a known key"),
        ({"boxes": []}, "cat.json: boxes: is not a known key; did you mean box?"),
        ({"prompts": [{"point": [POINT]}]}, "prompts[0].point: is not a known key; did you mean points?"),
        ({"prompts": [], "prompt": 1}, "cat.json: prompt: is not a known key; did you mean prompts?"),
        ({"points": [{**POINT, "lable": 1}]}, "points[0].lable: is not a known key; did you mean label?"),
        ({"box": {**BOX, "x_1": 0}}, "box.x_1: is not a known key; did you mean x1?"),
        ({"everything": {"points_per_side": 1, "iou_thresh": 0}}, "did you mean pred_iou_thresh?"),
        ({"points": [POINT, {"x": 1, "y": 1}]}, "cat.json: points[1].label: is missing"),
        ({"points": [{**POINT, "z": 0}]}, "cat.json: points[0].z: is not a known key"),
        ({"points": [{**POINT, "x": "1"}]}, "cat.json: points[0].x: must be a number"),
        ({"points": [{**POINT, "label": 2}]}, "cat.json: points[0].label: must be 0 (background) or 1"),
        ({"points": [{**POINT, "label": 0.5}]}, "cat.json: points[0].label: must be 0 (background) or 1"),
        ({"points": [{**POINT, "label": True}]}, "cat.json: points[0].label: must be 0 (background) or 1"),
        ({"points": [{**POINT, "label": "1"}]}, "cat.json: points[0].label: must be 0 (background) or 1"),
        ({"points": [{**POINT, "x": 1e10}]}, "cat.json: points[0].x: Input should be less than or equal to"),
        ({"points": {"x": 1}}, "cat.json: points: must be a list"),
        ({"box": [0, 0, 1, 1]}, "cat.json: box: must be a JSON object"),
        ({"box": {**BOX, "x1": 0}}, "cat.json: box: x0 must be less than x1, got 0.0 and 0.0"),
        ({"box": {**BOX, "y0": 30}}, "cat.json: box: y0 must be less than y1"),
        ({"box": BOX, "label": ""}, "cat.json: label: must not be empty"),
        ({"points": [{}, {}]}, "cat.json: points[0].x: is missing"),
        ({"mask": "="}, "cat.json: mask: "),
        ({"mask": "", "box": [], "id": 1}, "cat.json: mask: must be a PNG or an .npy file in base64"),
        ({"prompts": [{"box": {}}, {"mask": "="}]}, "cat.json: prompts[0].box.x0: is missing"),
        ({"id": 1, "refine": {}, "box": BOX}, "cat.json: refine: must be a whole number"),
    ],
)
def test_a_refusal_names_the_file_and_the_field(document: object, message: str) -> None:
    with pytest.raises(BadPrompt, match=re.escape(message)):
        parse(document)


def test_more_prompts_than_allowed_are_refused() -> None:
    with pytest.raises(BadPrompt, match="has 3 prompts, at most 2"):
        parse({"prompts": [{"box": BOX}] * 3}, LimitSettings(max_prompts=2))


def many(item: bytes, count: int, before: bytes = b"[", after: bytes = b"]") -> bytes:
    return before + b",".join([item] * count) + after


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (many(b"[1,1]", 2**20, b'{"points":[', b"]}"), "commas and opening brackets, more than"),
        (many(b"1", 2**20, b'{"points":[', b"]}"), "commas and opening brackets, more than"),
        (many(b"{}", 2**20, b'{"prompts":[', b"]}"), "commas and opening brackets, more than"),
        (b'{"a":' * 2**20, "commas and opening brackets, more than"),
        (many(b"[" * 9 + b"]" * 9, 190, b'{"points":[', b"]}"), "has 1713 objects, lists and strings, more"),
        (
            b"{" + b",".join(b'"%x":1' % n for n in range(1800)) + b"}",
            "objects, lists and strings, more than",
        ),
        (many(b'{"x":"","y":""}', 600, b'{"points":[', b"]}"), "has 1803 objects, lists and strings, more"),
        (b'{"box":{"x0":' + b"9" * 2**20 + b"}}", "is not JSON in UTF-8: number is infinity"),
        (b'{"' + b"k" * 2**20 + b'": 1}', ": " + "k" * 80 + "...: is not a known key"),
        (b'{"mask": "' + b"A " * 2**20 + b'"}', "mask: has 2097152 characters of base64"),
        (b'{"label": "' + b"a" * 2**20 + b'"}', "label: has more than 1000 characters"),
        (b'{"id": "' + b"a" * 1001 + b'", "box": {}}', "box.x0: is missing"),
    ],
    ids=[
        "pairs",
        "numbers",
        "objects",
        "nesting",
        "lists",
        "names",
        "fields",
        "digits",
        "key",
        "mask",
        "label",
        "id",
    ],
)
def test_what_would_be_expensive_is_refused_with_one_short_message(content: bytes, message: str) -> None:
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(BadPrompt, match=re.escape(message)) as caught:
        parse(content)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(str(caught.value)) < 300
    assert most < 16 * len(content) + 2**16
    assert time.process_time() - started < 2


def test_as_many_full_prompts_as_the_limits_allow_are_accepted() -> None:
    limits = LimitSettings(max_prompts=1000, max_points=10_000)
    prompt = {"id": "a", "label": "cat", "box": BOX, "points": [POINT] * 10}

    assert len(parse({"prompts": [prompt] * 1000}, limits)) == 1000


def test_values_within_the_limits_are_refused_at_the_first_error() -> None:
    content = many(b"{}", 100_000, b'{"points":[', b"]}")
    tracemalloc.start()
    with pytest.raises(BadPrompt, match=r"cat\.json: points\[0\]\.x: is missing: write, for example, "):
        parse(content, LimitSettings(max_points_per_prompt=100_000))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 20 * 2**20


def test_other_threads_go_on_while_the_largest_prompt_file_is_parsed() -> None:
    points = many(b'{"x":1.5,"y":2.5,"label":1}', 1000, b'{"points":[', b"]}")
    content = many(points, 100, b'{"prompts":[', b"]}")
    pauses, done = [0.0], Event()

    def beat() -> None:
        last = time.monotonic()
        while not done.wait(0.001):
            pauses.append(time.monotonic() - last)
            last += pauses[-1]

    heartbeats = Thread(target=beat)
    heartbeats.start()
    try:
        assert len(parse(content, LimitSettings())) == 100
    finally:
        done.set()
        heartbeats.join()

    assert max(pauses) < 3


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"points": [POINT] * 21}, "points: has 21 points, at most 20 are allowed in a prompt"),
        ({"prompts": [{"points": [POINT] * 20}] * 6}, "cat.json: has 120 points, at most 100 are allowed"),
        ({"everything": {"points_per_side": 11}}, "cat.json: has 121 points, at most 100 are allowed"),
        ({"everything": {}}, "cat.json: has 1024 points, at most 100 are allowed"),
    ],
)
def test_more_points_than_allowed_are_refused(document: object, message: str) -> None:
    with pytest.raises(BadPrompt, match=re.escape(message)):
        parse(document)


def test_each_mask_takes_memory_so_their_number_is_limited() -> None:
    document = {"prompts": [{"mask": ""}] * (MAX_MASKS + 1)}

    with pytest.raises(BadPrompt, match=f"cat.json: has {MAX_MASKS + 1} masks, at most {MAX_MASKS}"):
        parse(document, LimitSettings())


def test_a_schema_of_any_kind_is_passed_over_by_the_old_commands() -> None:
    content = json.dumps({"$schema": 7, "box": BOX}).encode()

    assert good_prompts(read_old_prompts(content, "a.json", LimitSettings()))


@pytest.mark.parametrize("read", [read_prompts, read_old_prompts])
def test_unknown_keys_are_not_collected(read: Callable[..., Iterator[PlacedPrompt]]) -> None:
    keys = {f"key {number}": number for number in range(50_000)}
    content = json.dumps({"points": [{**POINT, **keys}, keys], **keys}).encode()
    started = time.process_time()

    with pytest.raises(BadPrompt, match=r"points\[1\]\.x: is missing|: key 0: is not a known key"):
        good_prompts(read(content, "a.json", LimitSettings()))

    assert time.process_time() - started < 2


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(repr).map(str.encode)
)
def test_any_bytes_are_prompts_or_a_refusal(content: bytes) -> None:
    try:
        assert parse_prompts(content, "any.json", LIMITS)
    except BadPrompt as error:
        assert str(error).startswith("any.json: ")  # noqa: PT017  either outcome is right


finite = st.floats(-1e6, 1e6)
points = st.builds(Point, finite, finite, st.sampled_from([0, 1]))
boxes = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h), finite, finite, st.floats(1, 1e6), st.floats(1, 1e6)
)
prompts = st.builds(
    Prompt,
    points=st.lists(points, min_size=1, max_size=4).map(tuple),
    box=st.none() | boxes,
    label=st.text(min_size=1).filter(lambda text: text.isprintable()),
    id=st.none() | st.text().filter(lambda text: text.isprintable()),
)


words = st.builds(
    Prompt,
    text=st.from_regex(TEXT_PATTERN, fullmatch=True).filter(lambda text: len(text) <= MAX_TEXT_CHARACTERS),
    score_thresh=st.none() | st.floats(0, 1),
)


@given(st.lists(prompts | words, min_size=1, max_size=5))
def test_the_document_of_prompts_reads_back_as_the_same_prompts(values: list[Prompt]) -> None:
    assert parse({"prompts": prompts_document(values)}) == tuple(values)


def test_a_document_that_is_nested_deeply_is_refused_as_any_other() -> None:
    content = b'{"box": ' + b'{"x0":' * 800 + b"1" + b"}" * 800 + b"}"

    with pytest.raises(BadPrompt, match=r"cat\.json: box"):
        parse(content)


def test_whole_numbers_may_be_written_as_doubles_and_truth_values_are_refused() -> None:
    everything = {"points_per_side": 4.0, "min_mask_region_area": 9.0}

    [prompt] = parse({"everything": everything})
    assert prompt.everything == Everything(points_per_side=4, min_mask_region_area=9)
    assert type(prompt.everything.points_per_side) is int
    assert parse({"box": BOX, "refine": 2.0})[0].refine == 2
    for document in ({"box": BOX, "refine": True}, {"everything": {"points_per_side": True}}):
        with pytest.raises(BadPrompt, match="must be a whole number"):
            parse(document)
