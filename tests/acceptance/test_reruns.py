"""Running again: finished pairs are skipped, changed pairs are done, --dry-run shows both in advance."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.folders import BOX, Folders, drop_pair, files_below
from support.images import image_of
from support.process import sampoll

BOXES = ("--model", "support.fakes:boxes")
SKIP = (*BOXES, "--skip-done")


def summary(run: Any) -> str:
    """What was counted, without the seconds."""
    assert run.returncode in (0, 1), run.stderr
    last: str = run.stdout.splitlines()[-1]
    return last.rpartition(" in ")[0]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def done(folders: Folders) -> Folders:
    """Two pairs that are done, and the same ones again in the input."""
    for _ in range(2):
        drop_pair(
            folders.input, "a", {"prompts": [BOX, {"points": [{"x": 3, "y": 2, "label": 1}], "id": "p"}]}
        )
        drop_pair(folders.input, "b", BOX, image=image_of(seed=2))
        if not folders.results:
            assert summary(sampoll("run", *folders.flags, *BOXES)) == "2 done, 0 failed"
    return folders


def test_pairs_that_were_done_are_skipped_and_kept_like_all_others(done: Folders) -> None:
    before = {name: (done.output / name).read_bytes() for name in files_below(done.output)}

    run = sampoll("run", *done.flags, *SKIP)

    assert summary(run) == "0 done, 2 done before, 0 failed"
    assert "a: done before [" in run.stderr
    assert {name: (done.output / name).read_bytes() for name in files_below(done.output)} == before
    assert done.waiting == []
    assert done.done == sorted(f"{n}{v}{s}" for n in "ab" for v in ("", "~2") for s in (".jpg", ".json"))


def test_without_skip_done_pairs_are_done_again(done: Folders) -> None:
    assert summary(sampoll("run", *done.flags, *BOXES)) == "2 done, 0 failed"
    assert "a~2.json" in done.results


def change_image(folders: Folders) -> Sequence[object]:
    drop_pair(folders.input, "b", BOX, image=image_of(seed=3))
    return ()


def change_prompt(folders: Folders) -> Sequence[object]:
    (folders.input / "b.json").write_text(json.dumps({**BOX, "label": "other"}))
    return ()


def remove_mask(folders: Folders) -> Sequence[object]:
    (folders.output / "b.png").unlink()
    return ()


def remove_record(folders: Folders) -> Sequence[object]:
    (folders.output / "b.json").unlink()
    (folders.output / "b.png").unlink()
    return ()


@pytest.mark.parametrize("change", [change_image, change_prompt, remove_mask, remove_record])
def test_changed_pairs_are_done_again(done: Folders, change: Any) -> None:
    change(done)

    assert summary(sampoll("run", *done.flags, *SKIP)) == "1 done, 1 done before, 0 failed"


@pytest.mark.parametrize(
    "flags",
    [
        ("--simplify", 2),
        ("--fill-holes", 5),
        ("--mask-policy", "first"),
        ("--exif", "ignore"),
        ("--format", "png", "--format", "png8"),
        ("--overlay",),
        ("--model", "support.fakes:kept"),
    ],
)
def test_other_settings_another_model_and_more_formats_are_other_work(
    done: Folders, flags: Sequence[object]
) -> None:
    assert summary(sampoll("run", *done.flags, *SKIP, *flags)) == "2 done, 0 failed"


@pytest.mark.parametrize(
    "flags", [("--format", "coco"), ("--format", "opex"), ("--batch-size", 4), ("--durability", "file")]
)
def test_fewer_formats_data_sets_and_settings_that_masks_do_not_depend_on_are_the_same_work(
    done: Folders, flags: Sequence[object]
) -> None:
    assert summary(sampoll("run", *done.flags, *SKIP, *flags)) == "0 done, 2 done before, 0 failed"


def test_the_same_prompt_in_other_words_is_the_same_work(done: Folders) -> None:
    (done.input / "b.json").write_text(json.dumps({"prompts": [{**BOX, "label": "object"}]}, indent=4))

    assert summary(sampoll("run", *done.flags, *SKIP)) == "0 done, 2 done before, 0 failed"


def test_a_later_version_counts_too(done: Folders) -> None:
    drop_pair(done.input, "b", {**BOX, "label": "second"}, image=image_of(seed=2))
    sampoll("run", *done.flags, *BOXES)
    drop_pair(done.input, "b", {**BOX, "label": "second"}, image=image_of(seed=2))

    run = sampoll("run", *done.flags, *SKIP)

    assert summary(run) == "0 done, 1 done before, 0 failed"
    assert "b: done before as b~2 [" in run.stderr


def test_a_bad_pair_fails_with_skip_done_too(done: Folders) -> None:
    (done.input / "b.json").write_text("{")

    assert summary(sampoll("run", *done.flags, *SKIP)) == "0 done, 1 done before, 1 failed"


def test_force_does_everything_again_and_replaces_it(done: Folders) -> None:
    run = sampoll("run", *done.flags, *BOXES, "--force", env={"SAMPOLL_SKIP_DONE": "true"})

    assert summary(run) == "2 done, 0 failed"
    assert done.results == ["a.0.png", "a.1.png", "a.json", "b.json", "b.png"]


def test_a_dry_run_lists_what_would_be_done_and_does_nothing(done: Folders) -> None:
    drop_pair(done.input, "new")
    drop_pair(done.input, "outside", {"points": [{"x": 99, "y": 1, "label": 1}]})
    drop_pair(done.input, "twice")
    drop_pair(done.input, "twice", suffix=".png")
    (done.input / "half.json").write_text("{}")
    before = {name: (done.input.parent / name).stat().st_mtime_ns for name in files_below(done.input.parent)}

    run = sampoll("run", *done.flags, *SKIP, "--dry-run")
    document = json.loads(sampoll("run", *done.flags, *SKIP, "--dry-run", "--json").stdout)

    assert run.returncode == document["exit_code"] == 1
    assert {pair["pair"]: pair["action"] for pair in document["pairs"]} == {
        "a": "skip",
        "b": "skip",
        "new": "do",
        "outside": "fail",
        "twice": "fail",
    }
    assert document["left"]["counts"] == {"no-image": 1}
    assert document["summary"] == run.stdout.splitlines()[-1]
    assert run.stdout.splitlines() == [
        "a: was done before as a",
        "b: was done before as b",
        "new: would be done: new.jpg, new.json",
        "outside: would fail: outside.json: points[0]: (99, 1) lies outside the image of 32x24 pixels",
        "twice: would fail: twice.jpg, twice.json, twice.png share one stem: drop one image and one prompt "
        "again, the others under other names",
        "half.json has no image: a run looks for half.bmp, half.jpeg, half.jpg, half.png, half.tif, "
        "half.tiff or half.webp beside it",
        "1 to do, 2 to skip, 2 to fail, 1 half pair",
    ]
    after = {name: (done.input.parent / name).stat().st_mtime_ns for name in files_below(done.input.parent)}
    assert after == before


def test_a_dry_run_creates_nothing(folders: Folders) -> None:
    drop_pair(folders.input, "a")

    run = sampoll("run", *folders.flags, *BOXES, "--dry-run")

    assert run.returncode == 0
    assert run.stdout.splitlines()[-1] == "1 to do, 0 to skip, 0 to fail"
    assert not folders.output.exists()
    assert sorted(path.name for path in folders.input.iterdir()) == ["a.jpg", "a.json"]


def test_the_report_has_one_line_per_job_with_outcome_seconds_and_files(
    done: Folders, tmp_path: Path
) -> None:
    (done.input / "b.json").write_text("{")
    drop_pair(done.input, "c")
    report = tmp_path / "reports" / "run.jsonl"

    for _ in range(2):
        assert sampoll("run", *done.flags, *SKIP, "--report", report).returncode in (0, 1)

    by_name = {line["name"]: line for line in lines_of(report)}
    assert len(lines_of(report)) == 3
    assert {name: line["outcome"] for name, line in by_name.items()} == {
        "a": "skipped",
        "b": "failed",
        "c": "done",
    }
    assert by_name["a"]["files"] == ["a.0.png", "a.1.png"]
    assert by_name["b"]["code"] == "bad-prompt"
    assert by_name["b"]["error"].startswith("b.json: is not JSON")
    assert (by_name["c"]["record"], by_name["c"]["files"]) == ("c.json", ["c.png"])
    assert list(by_name["c"]["seconds"]) == ["image_decoding", "embedding", "mask_decoding"]
    assert all(line["job_id"] and line["at"] for line in by_name.values())


def test_no_run_starts_if_its_report_cannot_be_written(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    folders.input.with_name("file").touch()

    run = sampoll("run", *folders.flags, *BOXES, "--report", folders.input.with_name("file") / "run.jsonl")

    assert run.returncode == 74
    assert run.stderr.startswith("sampoll: cannot open the report ")
    assert folders.waiting == ["a.jpg", "a.json"]


def test_a_job_that_is_retried_has_one_line_per_attempt(folders: Folders, tmp_path: Path) -> None:
    drop_pair(folders.input, "a", image=image_of(13))
    report = tmp_path / "run.jsonl"

    sampoll(
        "run",
        *folders.flags,
        "--model",
        "support.fakes:out_of_memory",
        "--max-attempts",
        2,
        "--report",
        report,
    )

    assert [line["outcome"] for line in lines_of(report)] == ["deferred", "failed"]
    assert lines_of(report)[0]["delay_seconds"] >= 0
