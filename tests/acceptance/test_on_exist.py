"""Results whose names are taken: --on-exist."""

import json
import time
from pathlib import Path

import pytest
from support.fakes import POISON_HEIGHT
from support.folders import BOX, Folders, drop_pair, names_in
from support.images import image_of, read_mask
from support.process import running_sampoll, sampoll, until

TWO = {"prompts": [BOX, BOX]}


def run(folders: Folders, *flags: object) -> int:
    return sampoll("run", *folders.flags, "--model", "support.fakes:boxes", *flags).returncode


def test_replace_removes_the_earlier_result_with_all_its_masks(folders: Folders) -> None:
    drop_pair(folders.input, "a", TWO)
    assert run(folders) == 0
    assert folders.results == ["a.0.png", "a.1.png", "a.json"]

    drop_pair(folders.input, "a", BOX, image=image_of(40, 50))
    assert run(folders, "--on-exist", "replace") == 0

    assert folders.results == ["a.json", "a.png"]
    assert read_mask(folders.output / "a.png").shape == (40, 50)
    assert names_in(folders.output / ".sampoll" / "names") == []


@pytest.mark.parametrize("name", ["a.png", "a.json"])
def test_replace_leaves_what_no_record_of_that_name_lists(folders: Folders, name: str) -> None:
    folders.output.mkdir()
    (folders.output / name).write_text("somebody's own")
    drop_pair(folders.input, "a")
    assert run(folders, "--on-exist", "replace") == 0

    assert (folders.output / name).read_text() == "somebody's own"
    assert folders.results == sorted([name, "a~2.json", "a~2.png"])


def test_replace_never_takes_a_mask_of_another_job(folders: Folders) -> None:
    drop_pair(folders.input, "a", TWO)
    assert run(folders) == 0
    record = (folders.output / "a.json").read_bytes()

    drop_pair(folders.input, "a.0")
    assert run(folders, "--on-exist", "replace") == 0
    assert folders.results == ["a.0.png", "a.0~2.json", "a.0~2.png", "a.1.png", "a.json"]
    assert (folders.output / "a.json").read_bytes() == record


def test_fail_fails_the_pair_and_says_which_file_is_in_the_way(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    assert run(folders) == 0
    earlier = (folders.output / "a.json").read_bytes()

    drop_pair(folders.input, "a")
    drop_pair(folders.input, "b")
    assert run(folders, "--on-exist", "fail") == 1

    assert folders.results == ["a.json", "a.png", "b.json", "b.png"]
    assert (folders.output / "a.json").read_bytes() == earlier
    error = json.loads((folders.input / "failed" / "a.error.json").read_text())["error"]
    assert error["code"] == "output-exists"
    assert "a.png is in the output already (--on-exist fail)" in error["message"]


def test_a_pair_waits_while_another_of_its_name_is_in_progress(
    folders: Folders, gate: tuple[Path, Path]
) -> None:
    started, go = gate
    drop_pair(folders.input, "first", BOX, image=image_of(height=POISON_HEIGHT))
    flags = ("--on-exist", "replace", "--continuous", "--batch-size", 2, "--model", "support.fakes:waiting")
    with running_sampoll("run", *folders.flags, *flags):
        until(started.exists, "the model to be busy")
        drop_pair(folders.input, "a", {"box": {"x0": 1, "y0": 1, "x1": 9, "y1": 9}})
        until(lambda: folders.waiting == [], "the pair to be taken")
        drop_pair(folders.input, "a", BOX)
        time.sleep(1.5)  # long enough for it to be taken, too, were it not for the other one
        assert folders.waiting == ["a.jpg", "a.json"]
        go.touch()
        until(lambda: len(folders.done) == 6, "all three to be done")

    assert folders.results == ["a.json", "a.png", "first.json", "first.png"]
    assert read_mask(folders.output / "a.png").sum() == 16 * 12
