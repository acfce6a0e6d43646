"""--on-bad-prompt skip: a bad prompt costs only itself, and everybody is told about it."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.folders import BOX, Folders, drop_pair, files_below, read_opex
from support.process import sampoll

BOXES = ("--model", "support.fakes:boxes")
SKIP = (*BOXES, "--on-bad-prompt", "skip")
FAR = {"points": [{"x": 99, "y": 1, "label": 1}], "id": "far"}
FAR_MESSAGE = "prompts[0].points[0]: (99, 1) lies outside the image of 32x24 pixels"
UNKNOWN = {**BOX, "bx": 1}
UNKNOWN_MESSAGE = (
    "prompts[2].bx: is not a known key; did you mean box? "
    'Write, for example, "box": {"x0": 10, "y0": 20, "x1": 30, "y1": 40}'
)
PROMPTS: dict[str, list[Any]] = {
    "prompts": [FAR, {**BOX, "id": "good", "label": "cat"}, UNKNOWN, {**BOX, "id": "last"}]
}
FORMATS = [
    flag for name in ("png", "indexed", "labelme", "overlay", "yolo", "coco") for flag in ("--format", name)
]


def summary(run: Any) -> str:
    """What was counted, without the seconds."""
    last: str = (run.stdout or json.loads(run.stderr.splitlines()[-1])["message"]).splitlines()[-1]
    return last.rpartition(" in ")[0]


@pytest.fixture
def pair(folders: Folders) -> Folders:
    drop_pair(folders.input, "a", PROMPTS)
    return folders


def meta_of(folders: Folders, name: str = "a.json") -> dict[str, Any]:
    meta: dict[str, str] = json.loads((folders.output / name).read_text())["meta"]
    return {key: json.loads(meta[key]) for key in ("prompts", "skipped", "scores", "rle", "files")}


def test_the_good_prompts_are_done_and_the_others_are_named_counted_and_recorded(
    pair: Folders, tmp_path: Path
) -> None:
    report, metrics = tmp_path / "report.jsonl", tmp_path / "metrics"

    flags = ("--report", report, "--metrics-file", metrics, "--log-format", "json")
    run = sampoll("run", *pair.flags, *SKIP, *flags)

    assert (run.returncode, summary(run)) == (0, "1 done, 0 failed, 2 bad prompts skipped")
    events = [json.loads(line) for line in run.stderr.splitlines()]
    told = [(e["level"], e["pair"], e["field"]) for e in events if e.get("event") == "prompt-skipped"]
    assert told == [("WARNING", "a", "prompts[0].points[0]"), ("WARNING", "a", "prompts[2].bx")]
    assert f'a: skipped: a.json: {FAR_MESSAGE}"' in run.stderr
    skipped = [
        {"prompt": 0, "id": "far", "field": "prompts[0].points[0]", "message": f"a.json: {FAR_MESSAGE}"},
        {"prompt": 2, "id": None, "field": "prompts[2].bx", "message": f"a.json: {UNKNOWN_MESSAGE}"},
    ]
    assert json.loads(report.read_text())["skipped_prompts"] == skipped
    assert "sampoll_skipped_prompts_total 2.0" in metrics.read_text()
    meta = meta_of(pair)
    assert meta["skipped"] == skipped
    assert [prompt and prompt["id"] for prompt in meta["prompts"]] == [None, "good", None, "last"]
    assert [len(meta[key][k]) for key in ("scores", "rle") for k in range(4)] == [0, 1, 0, 1] * 2
    assert [o.meta["prompt"] for o in read_opex(pair.output / "a.json").objects] == ["1", "3"]


def test_masks_have_the_numbers_that_they_have_when_all_prompts_are_good(pair: Folders) -> None:
    run = sampoll("run", *pair.flags, *SKIP, *FORMATS)

    assert run.returncode == 0, run.stderr
    assert list(meta_of(pair)["files"]) == [
        "a.1.png",
        "a.3.png",
        "indexed/a.png",
        "labelme/a.json",
        "overlay/a.jpg",
    ]
    shapes = json.loads((pair.output / "labelme/a.json").read_text())["shapes"]
    assert [shape["group_id"] for shape in shapes] == [2, 4]


def test_results_with_skipped_prompts_are_exported_and_reported_like_all_others(
    pair: Folders, tmp_path: Path
) -> None:
    sampoll("run", *pair.flags, *SKIP, *FORMATS)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone/a.json").write_bytes((pair.output / "a.json").read_bytes())

    names = ("png", "indexed", "labelme", "yolo", "coco")
    run = sampoll("export", *(flag for name in names for flag in ("--format", name)), tmp_path / "alone")

    assert run.returncode == 0, run.stderr
    for name in files_below(tmp_path / "alone"):
        if name.endswith((".png", ".txt", ".yaml")):
            assert (tmp_path / "alone" / name).read_bytes() == (pair.output / name).read_bytes(), name
    annotations = json.loads((tmp_path / "alone/coco/instances.json").read_text())["annotations"]
    assert [annotation["category_id"] for annotation in annotations] == [1, 2]


def test_one_good_and_one_bad_prompt_are_still_two(folders: Folders) -> None:
    drop_pair(folders.input, "a", {"prompts": [BOX, FAR]})

    sampoll("run", *folders.flags, *SKIP)
    report = sampoll("report", folders.output)

    assert folders.results == ["a.0.png", "a.json", "report", "report.html"]
    assert report.returncode == 0
    assert "1 prompt skipped" in (folders.output / "report.html").read_text()


def test_the_report_shows_a_mask_if_the_first_prompt_was_skipped(pair: Folders) -> None:
    sampoll("run", *pair.flags, *SKIP)

    sampoll("report", pair.output, "--pictures", 0)

    assert "a.1.png" in (pair.output / "report.html").read_text()


@pytest.mark.parametrize("set_by", ["nothing", "flag", "variable", "file"])
def test_a_bad_prompt_fails_its_pair_unless_set_otherwise(pair: Folders, tmp_path: Path, set_by: str) -> None:
    (tmp_path / "set.toml").write_text('[prompts]\non-bad-prompt = "skip"\n')
    flags: dict[str, list[Any]] = {
        "flag": ["--on-bad-prompt", "skip"],
        "file": ["--config", tmp_path / "set.toml"],
    }
    env = {"SAMPOLL_ON_BAD_PROMPT": "skip"} if set_by == "variable" else {}

    run = sampoll("run", *pair.flags, *BOXES, *flags.get(set_by, []), env=env)

    assert run.returncode == (1 if set_by == "nothing" else 0)
    assert pair.failed == (["a.error.json", "a.jpg", "a.json"] if set_by == "nothing" else [])


def test_a_pair_without_any_good_prompt_fails_with_the_errors(folders: Folders) -> None:
    drop_pair(folders.input, "a", {"prompts": [FAR, {}]})

    run = sampoll("run", *folders.flags, *SKIP)

    assert (run.returncode, summary(run)) == (1, "0 done, 1 failed")
    error = json.loads((folders.input / "failed/a.error.json").read_text())["error"]
    assert (error["code"], error["field"]) == ("bad-prompt", "prompts")
    assert FAR_MESSAGE in error["message"]
    assert 'prompts[1]: needs "points"' in error["message"]


def test_what_was_done_with_skipped_prompts_is_done_until_something_changes(pair: Folders) -> None:
    assert summary(sampoll("run", *pair.flags, *SKIP)) == "1 done, 0 failed, 2 bad prompts skipped"
    drop_pair(pair.input, "a", PROMPTS)
    before = {name: (pair.output / name).read_bytes() for name in files_below(pair.output)}

    again = sampoll("run", *pair.flags, *SKIP, "--skip-done")

    assert summary(again) == "0 done, 1 done before, 0 failed"
    assert {name: (pair.output / name).read_bytes() for name in files_below(pair.output)} == before


def test_what_was_done_with_skipped_prompts_fails_where_they_are_not_to_be_skipped(pair: Folders) -> None:
    sampoll("run", *pair.flags, *SKIP)
    drop_pair(pair.input, "a", PROMPTS)

    again = sampoll("run", *pair.flags, *BOXES, "--skip-done")

    assert summary(again) == "0 done, 1 failed"


def test_what_was_done_without_a_bad_prompt_is_done_for_both(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    sampoll("run", *folders.flags, *BOXES)
    drop_pair(folders.input, "a")

    again = sampoll("run", *folders.flags, *SKIP, "--skip-done")

    assert summary(again) == "0 done, 1 done before, 0 failed"


def test_a_bad_prompt_for_all_images_is_skipped_for_each(folders: Folders, tmp_path: Path) -> None:
    drop_pair(folders.input, "a")
    (folders.input / "a.json").unlink()
    (tmp_path / "common.json").write_text(json.dumps({"prompts": [UNKNOWN, BOX]}))

    run = sampoll("run", *folders.flags, *SKIP, "--prompt", tmp_path / "common.json")
    failing = sampoll("run", *folders.flags, *BOXES, "--prompt", tmp_path / "common.json")

    assert (run.returncode, summary(run)) == (0, "1 done, 0 failed, 1 bad prompt skipped")
    assert failing.returncode == 78


def test_a_dry_run_and_a_check_say_what_would_be_skipped(pair: Folders) -> None:
    dry = sampoll("run", *pair.flags, *SKIP, "--dry-run")
    check = sampoll("prompts", "check", "--on-bad-prompt", "skip", pair.input)

    assert dry.stdout.splitlines() == [
        "a: would be done: a.jpg, a.json",
        f"a: would be skipped: a.json: {FAR_MESSAGE}",
        f"a: would be skipped: a.json: {UNKNOWN_MESSAGE}",
        "1 to do, 0 to skip, 0 to fail, 2 bad prompts to skip",
    ]
    assert check.returncode == 0
    assert check.stderr.splitlines() == [
        f"would be skipped: {pair.input}/a.json: {FAR_MESSAGE}",
        f"would be skipped: {pair.input}/a.json: {UNKNOWN_MESSAGE}",
    ]
    assert check.stdout == "1 valid, 0 invalid; 2 bad prompts in the valid would be skipped\n"


def test_of_very_many_bad_prompts_the_log_names_some_and_the_record_all(folders: Folders) -> None:
    drop_pair(folders.input, "a", {"prompts": [BOX, *[{}] * 150]})

    run = sampoll("run", *folders.flags, *SKIP, "--log-format", "text")

    assert run.stderr.count("WARNING a: skipped: ") == 100
    assert "WARNING a: 50 more bad prompts skipped; the record lists them all [" in run.stderr
    assert len(meta_of(folders)["skipped"]) == 150
