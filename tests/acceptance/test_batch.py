"""`sampoll batch` over directories, as users see it."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from support.fakes import POISON_HEIGHT
from support.folders import BOX, drop_pair, files_below
from support.images import image_of
from support.process import running_sampoll, sampoll, until

BOXES = ("--model", "support.fakes:boxes")
FAILED = ".sampoll/batch/failed"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "photographs"
    (directory / "sub").mkdir(parents=True)
    drop_pair(directory, "a")
    drop_pair(directory, "b", {"prompts": [BOX, BOX]}, image=image_of(seed=1), suffix=".PNG")
    drop_pair(directory / "sub", "c", image=image_of(seed=2))
    return directory


def snapshot(directory: Path) -> dict[str, tuple[bytes, int]]:
    """What each file has, and when it was changed."""
    return {
        str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in directory.rglob("*")
        if path.is_file()
    }


def comparable(output: Path) -> dict[str, Any]:
    """The files of results, without what differs between two runs: times and ids."""
    found: dict[str, Any] = {}
    for name in files_below(output):
        content = (output / name).read_bytes()
        if name.endswith(".json"):
            record = json.loads(content)
            del record["timestamp"], record["meta"]["job_id"], record["meta"]["seconds"]
            found[name] = record
        else:
            found[name] = content
    return found


def outcomes(report: Path) -> list[tuple[str, str]]:
    lines = map(json.loads, report.read_text().splitlines())
    return sorted((line["name"], line["outcome"]) for line in lines)


def test_a_batch_writes_what_a_run_writes_and_changes_nothing_in_its_source(
    source: Path, tmp_path: Path
) -> None:
    before = snapshot(source)
    output, report = tmp_path / "masks", tmp_path / "report.jsonl"
    flags = (*BOXES, "--format", "png", "--format", "png8", "--overlay")

    batch = sampoll("batch", source, "-o", output, *flags, "--report", report)
    after = snapshot(source)
    run = sampoll("run", source, tmp_path / "of-run", *flags, "--recursive", "--settle", 0)

    assert batch.returncode == run.returncode == 0, batch.stderr + run.stderr
    assert batch.stdout.startswith("3 done, 0 failed in ")
    assert after == before
    assert comparable(output) == comparable(tmp_path / "of-run")
    assert outcomes(report) == [("a", "done"), ("b", "done"), ("sub/c", "done")]


def test_two_shards_at_the_same_time_do_each_image_once(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "masks"
    for number in range(20):
        drop_pair(source, f"more{number}", image=image_of(seed=number))
    reports = [tmp_path / f"{index}.jsonl" for index in range(2)]
    shards = [
        ("batch", source, "-o", output, *BOXES, "--shard", f"{index}/2", "--report", reports[index])
        for index in range(2)
    ]

    with running_sampoll(*shards[0]) as first, running_sampoll(*shards[1]) as second:
        assert (first.wait(60), second.wait(60)) == (0, 0)

    done = [dict(outcomes(report)) for report in reports]
    assert min(len(done[0]), len(done[1])) > 5
    assert not done[0].keys() & done[1].keys()
    assert len(done[0]) + len(done[1]) == len([name for name in files_below(output) if ".json" in name]) == 23


def test_what_a_killed_batch_has_left_is_done_by_the_next_one(
    source: Path, tmp_path: Path, gate: tuple[Path, Path]
) -> None:
    output = tmp_path / "masks"
    started, go = gate
    drop_pair(source / "sub", "poison", image=image_of(POISON_HEIGHT))
    flags = ("batch", source, "-o", output, "--model", "support.fakes:waiting", "--batch-size", 1)

    with running_sampoll(*flags) as process:
        until(started.exists, "the model to work on the last image")
        until((output / "sub/c.json").exists, "the results before it")
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    go.touch()
    again = sampoll(*flags)

    assert again.stdout.startswith("1 done, 3 done before, 0 failed"), again.stderr


def test_an_image_that_kills_its_process_fails_once_it_has_done_so_alone(
    source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "masks"
    drop_pair(source, "b-poison", image=image_of(POISON_HEIGHT))
    flags = ("batch", source, "-o", output, "--model", "support.fakes:killing", "--max-attempts", 1)

    together, alone, after = (sampoll(*flags) for _ in range(3))

    assert together.returncode == alone.returncode == -signal.SIGKILL
    assert after.returncode == 1, after.stderr
    died = "b-poison: failed: the process died 1 times while it worked on this image alone"
    assert died in after.stderr
    records = [name for name in files_below(output) if name.endswith(".json")]
    assert records == ["a.json", "b.json", "sub/c.json"]
    report = json.loads((output / FAILED / "b-poison.error.json").read_text())
    assert report["error"]["code"] == "crashed-repeatedly"
    assert not list((output / ".sampoll/batch/begun").iterdir())


def test_a_stopped_batch_says_so_and_is_gone_on_with(
    source: Path, tmp_path: Path, gate: tuple[Path, Path]
) -> None:
    output = tmp_path / "masks"
    started, go = gate
    drop_pair(source, "0-poison", image=image_of(POISON_HEIGHT))
    flags = ("batch", source, "-o", output, "--model", "support.fakes:waiting", "--batch-size", 1)

    with running_sampoll(*flags) as process:
        until(started.exists, "the model to work")
        process.send_signal(signal.SIGTERM)
        go.touch()
        assert process.wait(30) == 75
    again = sampoll(*flags)

    assert again.returncode == 0, again.stderr
    assert len([name for name in files_below(output) if name.endswith(".json")]) == 4


def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_done(source: Path, tmp_path: Path) -> None:
    (source / "sub").chmod(0)

    batch = sampoll("batch", source, "-o", tmp_path / "masks", *BOXES, unprivileged=True)

    (source / "sub").chmod(0o755)
    assert batch.returncode == 1
    assert "sub/: passed over: cannot be listed: Permission denied" in batch.stderr
    assert batch.stdout.startswith("2 done, 0 failed, 1 passed over")


def test_an_output_that_may_not_be_written_is_refused_and_nothing_is_recorded(
    source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "masks"
    output.mkdir(mode=0o555)

    batch = sampoll("batch", source, "-o", output, *BOXES, unprivileged=True)

    assert batch.returncode == 77, batch.stderr
    assert not list(output.iterdir())
