"""A process that is killed, from outside or by one of its jobs, and the next process, which continues."""

import json
import os
import pty
import signal
from pathlib import Path

import pytest
from support.folders import Folders, drop_pair
from support.images import image_of, read_mask
from support.process import SAMPOLL, environment, running_sampoll, sampoll, until

POINT = {"points": [{"x": 1, "y": 1, "label": 1}]}
KILLING = ("--model", "support.fakes:killing")


def poison(folders: Folders, name: str) -> None:
    drop_pair(folders.input, name, POINT, image=image_of(13, 32))


def test_a_restart_after_kill_9_finishes_what_was_claimed(folders: Folders, gate: tuple[Path, Path]) -> None:
    started, _ = gate
    for name in ("a", "b", "c"):
        poison(folders, name)
    with running_sampoll(
        "run", *folders.flags, "--continuous", "--model", "support.fakes:waiting"
    ) as process:
        until(started.exists, "the batch")
        process.kill()
        process.wait()

    run = sampoll("run", *folders.flags, "--model", "support.fakes:boxes")

    assert run.returncode == 0
    assert folders.results == sorted(f"{n}{s}" for n in "abc" for s in (".json", ".png"))
    assert folders.done == sorted(f"{n}{s}" for n in "abc" for s in (".jpg", ".json"))
    assert all(read_mask(folders.output / f"{n}.png").shape == (13, 32) for n in "abc")


def test_a_pair_that_kills_the_process_is_failed_after_max_attempts(folders: Folders) -> None:
    poison(folders, "poison")

    codes = [sampoll("run", *folders.flags, *KILLING).returncode for _ in range(3)]
    last = sampoll("run", *folders.flags, *KILLING)

    assert codes == [-signal.SIGKILL] * 3
    assert last.returncode == 1
    assert folders.failed == ["poison.error.json", "poison.jpg", "poison.json"]
    report = json.loads((folders.input / "failed" / "poison.error.json").read_text())
    assert report["error"]["code"] == "crashed-repeatedly"
    assert report["attempts"] == 3


def test_a_pair_that_kills_the_process_makes_no_other_pair_fail(folders: Folders) -> None:
    poison(folders, "poison")
    for number in range(6):
        drop_pair(folders.input, f"good{number}")

    codes: list[int] = []
    while not codes or codes[-1] < 0:
        codes.append(sampoll("run", *folders.flags, *KILLING, "--max-attempts", 2).returncode)
        assert len(codes) < 10

    assert codes[-1] == 1
    assert folders.failed == ["poison.error.json", "poison.jpg", "poison.json"]
    assert [name for name in folders.results if name.endswith(".json")] == [f"good{n}.json" for n in range(6)]
    assert len(codes) <= 1 + 2 + 1  # together, twice alone, and the run that does the rest


@pytest.mark.parametrize("continuous", [False, True])
def test_a_device_that_is_lost_ends_the_process_with_71_and_every_pair_waits(
    folders: Folders, continuous: bool
) -> None:
    poison(folders, "a")
    drop_pair(folders.input, "b")
    flags = ("--continuous",) if continuous else ()

    run = sampoll("run", *folders.flags, *flags, "--model", "support.fakes:lost", "--batch-size", 4)

    assert run.returncode == 71
    assert "the CUDA device failed: an illegal memory access was encountered" in run.stderr
    assert folders.waiting == ["a.jpg", "a.json", "b.jpg", "b.json"]
    assert (folders.failed, folders.done, folders.results) == ([], [], [])


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGXCPU])
def test_a_signal_stops_in_order_and_charges_no_pair(
    folders: Folders, gate: tuple[Path, Path], number: signal.Signals
) -> None:
    started, go = gate
    poison(folders, "a")
    with running_sampoll(
        "run", *folders.flags, "--model", "support.fakes:waiting", "--max-attempts", 1
    ) as process:
        until(started.exists, "the batch")
        process.send_signal(number)
        go.touch()
        code = process.wait(60)

    assert code == 75
    assert (
        sampoll("run", *folders.flags, "--model", "support.fakes:boxes", "--max-attempts", 1).returncode == 0
    )
    assert folders.failed == []
    assert folders.done == ["a.jpg", "a.json"]


def test_a_closed_terminal_charges_no_pair(folders: Folders, gate: tuple[Path, Path]) -> None:
    started, go = gate
    for name in ("a", "b"):
        poison(folders, name)
    command = [str(SAMPOLL), "run", *map(str, folders.flags), "--model", "support.fakes:waiting"]
    child, terminal = pty.fork()
    if child == 0:
        os.execve(command[0], [*command, "--batch-size", "1"], environment())
    until(started.exists, "the batch")

    os.close(terminal)
    go.touch()
    _, status = os.waitpid(child, 0)

    assert os.WIFEXITED(status)  # in order, and not by the signal
    assert (
        sampoll("run", *folders.flags, "--model", "support.fakes:boxes", "--max-attempts", 1).returncode == 0
    )
    assert folders.failed == []
    assert folders.done == ["a.jpg", "a.json", "b.jpg", "b.json"]
