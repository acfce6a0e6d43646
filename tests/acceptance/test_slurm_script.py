"""The example for Slurm, with what a task of an array has: its variables, a signal, and scontrol."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.fakes import POISON_HEIGHT
from support.folders import drop_pair, files_below
from support.images import image_of
from support.process import REPOSITORY, SAMPOLL, environment, until

SCRIPT = REPOSITORY / "configs" / "slurm" / "batch.sh"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "in"
    directory.mkdir()
    for number in range(4):
        drop_pair(directory, f"p{number}", image=image_of(seed=number))
    return directory


def task(tmp_path: Path, model: str, **variables: str) -> subprocess.Popen[bytes]:
    """The only task of array 7."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/requeued\n')
    (programs / "scontrol").chmod(0o755)
    array = {f"SLURM_ARRAY_TASK_{name}": value for name, value in zip(("ID", "MIN"), "00", strict=True)}
    array |= {"SLURM_ARRAY_TASK_STEP": "1", "SLURM_ARRAY_TASK_COUNT": "1", "SLURM_ARRAY_JOB_ID": "7"}
    path = f"{programs}:{SAMPOLL.parent}:{os.environ['PATH']}"
    env = environment({**array, "PATH": path, "SAMPOLL_MODEL": f"support.fakes:{model}", **variables})
    with (tmp_path / "log").open("ab") as log:
        return subprocess.Popen(
            [SCRIPT, tmp_path / "in", tmp_path / "out"], env=env, cwd=tmp_path, stderr=log
        )


def requeued(tmp_path: Path) -> str:
    path = tmp_path / "requeued"
    return path.read_text() if path.exists() else ""


def test_a_task_does_its_share_and_has_the_exit_code_of_sampoll(source: Path, tmp_path: Path) -> None:
    assert task(tmp_path, "boxes").wait(60) == 0
    assert len(files_below(tmp_path / "out")) == 8
    assert len((tmp_path / "sampoll-7-0.jsonl").read_text().splitlines()) == 4
    assert requeued(tmp_path) == ""


def test_a_task_that_is_told_to_end_finishes_its_batch_and_is_queued_again(
    source: Path, tmp_path: Path
) -> None:
    drop_pair(source, "a", image=image_of(POISON_HEIGHT, 20))
    started, go = tmp_path / "started", tmp_path / "go"
    process = task(tmp_path, "waiting", FAKES_STARTED=str(started), FAKES_GO=str(go))
    until(started.exists, "the first image is segmented")
    process.send_signal(signal.SIGTERM)
    until(lambda: b"stopping" in (tmp_path / "log").read_bytes(), "the signal is passed on")
    go.touch()

    assert process.wait(60) == 75
    assert "a.json" in files_below(tmp_path / "out")
    assert requeued(tmp_path) == "requeue 7_0\n"


def test_a_task_that_crashes_is_queued_again_and_not_for_ever(source: Path, tmp_path: Path) -> None:
    drop_pair(source, "a", image=image_of(POISON_HEIGHT, 20))
    assert task(tmp_path, "killing").wait(60) == 137
    first = requeued(tmp_path)
    (tmp_path / "bin").rename(tmp_path / "before")
    assert task(tmp_path, "killing", SLURM_RESTART_COUNT="6").wait(60) == 137

    assert first == requeued(tmp_path) == "requeue 7_0\n"
