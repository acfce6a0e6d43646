"""`--default-prompt`: images that have no prompt of their own."""

import json
import signal
from pathlib import Path

from support.folders import BOX, Folders, drop_pair, read_opex
from support.images import encoded, image_of
from support.process import running_sampoll, sampoll, until

WORDS = ("--model", "support.fakes:words")


def drop_image(directory: Path, name: str, seed: int = 0) -> None:
    (directory / f"{name}.jpg").write_bytes(encoded(image_of(seed=seed), "JPEG"))


def test_a_folder_of_images_is_a_data_set_after_one_command(folders: Folders) -> None:
    drop_image(folders.input, "a")
    drop_image(folders.input, "b", seed=1)
    drop_pair(folders.input, "own", {**BOX, "label": "own"}, image=image_of(seed=2))
    flags = (*folders.flags, *WORDS, "--default-prompt", "text:cat", "--format", "coco")

    planned = sampoll("run", *flags, "--dry-run")
    run = sampoll("run", *flags)
    drop_image(folders.input, "a")
    again = sampoll("run", *flags, "--skip-done")

    assert "a: would be done: a.jpg, --default-prompt" in planned.stdout
    assert run.stdout.startswith("3 done, 0 failed"), run.stderr
    assert folders.done == ["a.jpg", "a~2.jpg", "b.jpg", "own.jpg", "own.json"]
    meta = json.loads((folders.output / "a.json").read_text())["meta"]
    assert json.loads(meta["prompts"]) == [{"text": "cat", "label": "cat"}]
    coco = json.loads((folders.output / "coco/instances.json").read_text())
    assert {category["name"] for category in coco["categories"]} == {"cat", "own"}
    assert again.stdout.startswith("0 done, 1 done before")


def test_an_image_that_failed_with_the_default_prompt_can_be_retried_with_a_prompt_of_its_own(
    folders: Folders, tmp_path: Path
) -> None:
    default = tmp_path / "far.json"
    default.write_text('{"points": [{"x": 500, "y": 2, "label": 1}]}')
    drop_image(folders.input, "a")
    drop_image(folders.input, "b", seed=1)

    failed = sampoll("run", *folders.flags, *WORDS, "--default-prompt", default)
    after_failure = folders.failed
    (folders.input / "failed/a.json").write_text(json.dumps(BOX))
    retried = sampoll("failed", "retry", "-i", folders.input, "--all")
    run = sampoll("run", *folders.flags, *WORDS)

    assert failed.stdout.startswith("0 done, 2 failed")
    assert "far.json: points[0]: (500, 2) lies outside the image" in failed.stderr
    assert after_failure == ["a.error.json", "a.jpg", "b.error.json", "b.jpg"]
    assert retried.returncode == 0, retried.stderr
    assert run.stdout.startswith("1 done, 1 failed"), run.stderr
    assert len(read_opex(folders.output / "a.json").objects) == 1
    assert "b.jpg has no prompt now: it was tried with --prompt or --default-prompt before" in run.stderr
    assert folders.failed == ["b.error.json", "b.jpg"]


def test_a_service_waits_for_a_prompt_and_tells_of_one_that_comes_too_late(
    folders: Folders, tmp_path: Path
) -> None:
    flags = (*folders.flags, *WORDS, "--continuous", "--default-prompt", "text:cat", "--pair-timeout", 1)
    log = tmp_path / "log"
    with log.open("wb") as file, running_sampoll("run", *flags, log=file) as process:
        drop_image(folders.input, "a")
        until(lambda: folders.results == ["a.json", "a.png"], "the result of the image alone")
        (folders.input / "a.json").write_text(json.dumps(BOX))
        until(lambda: "a.json came after a.jpg was taken" in log.read_text(), "the warning")
        until(lambda: folders.failed == ["a.error.json", "a.json"], "the end of the half pair")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert folders.done == ["a.jpg"]
    assert read_opex(folders.output / "a.json").objects[0].label == "cat"
