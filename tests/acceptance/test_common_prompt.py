"""One prompt for a whole folder: `sampoll run --prompt FILE`, everything included."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.folders import BOX, Folders, drop_pair, files_below, read_opex
from support.images import encoded, image_of, read_mask
from support.process import sampoll

BOXES = ("--model", "support.fakes:boxes")


@pytest.fixture
def common(tmp_path: Path) -> Path:
    path = tmp_path / "common.json"
    path.write_text(json.dumps({**BOX, "label": "common"}))
    return path


def test_one_prompt_is_for_every_image_and_prompts_in_the_input_stay_there(
    folders: Folders, common: Path
) -> None:
    for name in ("a", "b"):
        (folders.input / f"{name}.jpg").write_bytes(encoded(image_of(), "JPEG"))
    (folders.input / "b.json").write_text('{"points": [{"x": 1, "y": 1, "label": 1}]}')

    run = sampoll("run", *folders.flags, *BOXES, "--prompt", common)

    assert run.stdout.startswith("2 done, 0 failed")
    assert [read_opex(folders.output / f"{name}.json").objects[0].label for name in "ab"] == ["common"] * 2
    assert folders.done == ["a.jpg", "b.jpg"]
    assert folders.waiting == ["b.json"]


def test_an_image_that_the_prompt_does_not_fit_fails_alone(folders: Folders, tmp_path: Path) -> None:
    common = tmp_path / "point.json"
    common.write_text(json.dumps({"points": [{"x": 30, "y": 2, "label": 1}]}))
    (folders.input / "wide.png").write_bytes(encoded(image_of(20, 40)))
    (folders.input / "narrow.png").write_bytes(encoded(image_of(20, 25)))

    run = sampoll("run", *folders.flags, *BOXES, "--prompt", common)

    assert run.stdout.startswith("1 done, 1 failed")
    assert folders.failed == ["narrow.error.json", "narrow.png"]
    assert "point.json: points[0]: (30, 2) lies outside the image of 25x20 pixels" in run.stderr


def test_an_invalid_common_prompt_is_refused_before_any_image_is_taken(
    folders: Folders, tmp_path: Path
) -> None:
    common = tmp_path / "bad.json"
    common.write_text("{}")
    (folders.input / "a.jpg").write_bytes(encoded(image_of(), "JPEG"))

    bad = sampoll("run", *folders.flags, *BOXES, "--prompt", common)
    missing = sampoll("run", *folders.flags, *BOXES, "--prompt", tmp_path / "no.json")

    assert (bad.returncode, missing.returncode) == (78, 78)
    assert bad.stderr.startswith(f'sampoll: --prompt {common}: needs "points"')
    assert (
        missing.stderr
        == f"sampoll: --prompt {tmp_path / 'no.json'} cannot be read: No such file or directory\n"
    )
    assert folders.waiting == ["a.jpg"]


def test_an_image_that_was_claimed_with_a_common_prompt_is_handed_back_when_there_is_none(
    folders: Folders, common: Path
) -> None:
    (folders.input / "a.jpg").write_bytes(encoded(image_of(13), "JPEG"))
    killed = sampoll("run", *folders.flags, "--model", "support.fakes:killing", "--prompt", common)
    assert killed.returncode == -9
    [journal] = (folders.input / ".sampoll/work").glob("*/.journal.jsonl")
    claimed = journal.read_bytes().splitlines()[1]
    journal.write_bytes(claimed)  # as if it had been killed before the job was begun

    run = sampoll("run", *folders.flags, *BOXES)

    assert run.stdout.startswith("0 done, 0 failed, 1 half pair left")
    assert folders.waiting == ["a.jpg"]


def test_everything_is_a_prompt_for_a_folder_and_its_masks_are_files_like_others(
    folders: Folders, tmp_path: Path
) -> None:
    common = tmp_path / "everything.json"
    common.write_text(json.dumps({"everything": {"points_per_side": 2}, "label": "part"}))
    (folders.input / "a.png").write_bytes(encoded(image_of()))

    run = sampoll("run", *folders.flags, *BOXES, "--prompt", common, "--format", "png", "--format", "indexed")

    assert run.returncode == 0, run.stderr
    assert files_below(folders.output) == [*(f"a.{k}.png" for k in range(4)), "a.json", "indexed/a.png"]
    opex = read_opex(folders.output / "a.json")
    assert [found.meta["mask"] for found in opex.objects] == ["0", "1", "2", "3"]
    assert np.sum([read_mask(folders.output / f"a.{k}.png") for k in range(4)]) == 24 * 32


def test_a_prompt_that_the_model_does_not_support_fails_with_the_reason(folders: Folders) -> None:
    drop_pair(folders.input, "a", {"everything": {}})
    drop_pair(folders.input, "b")

    run = sampoll("run", *folders.flags, "--model", "grabcut")

    assert run.stdout.startswith("1 done, 1 failed")
    assert "everything: is not taken by --model grabcut, which takes points and box only" in run.stderr
