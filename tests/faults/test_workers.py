"""`sampoll run --workers`: whatever ends, parent or worker, no pair is lost and no process stays."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.folders import Folders, drop_pair
from support.images import image_of
from support.process import running_sampoll, sampoll, until

BOXES = ("--model", "support.fakes:boxes")
SLOW = ("--model", "support.fakes:slow")
TWO = ("--workers", 2)
PAIRS = [f"p{number}" for number in range(8)]


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The workers, whichever thread has started them."""
    found = []
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def pairs(folders: Folders) -> Folders:
    for name in PAIRS:
        drop_pair(folders.input, name)
    return folders


def test_two_workers_do_all_pairs_and_one_report_and_summary_count_them(
    pairs: Folders, tmp_path: Path
) -> None:
    report = tmp_path / "report.jsonl"
    ran = sampoll("run", *pairs.flags, *TWO, *BOXES, "--report", report)
    assert ran.returncode == 0, ran.stderr
    assert "8 done, 0 failed" in ran.stdout
    assert sorted(json.loads(line)["name"] for line in report.read_text().splitlines()) == PAIRS
    assert len(pairs.results) == 16
    assert pairs.waiting == []


def test_the_limit_is_that_of_all_workers(pairs: Folders) -> None:
    ran = sampoll("run", *pairs.flags, *TWO, *BOXES, "--limit", 3)
    assert ran.returncode == 0, ran.stderr
    assert "3 done" in ran.stdout


def test_an_error_that_all_workers_would_have_is_that_of_the_command(pairs: Folders) -> None:
    ran = sampoll("run", *pairs.flags, *TWO, "--model", "vit_b", "--checkpoint", "missing.pth")
    assert ran.returncode == 69
    assert "missing.pth" in ran.stderr
    assert len(pairs.waiting) == 16


def test_a_command_whose_workers_all_ended_with_an_error_ends_with_it(pairs: Folders) -> None:
    for name in ("poison", "venom"):
        drop_pair(pairs.input, name, image=image_of(13, 32))
    service = ("--workers", 1, "--continuous")
    ran = sampoll("run", *pairs.flags, *service, "--model", "support.fakes:gone")
    assert ran.returncode == 69, ran.stderr
    assert pairs.failed == []


def test_a_worker_that_has_lost_its_device_is_started_again(pairs: Folders, gate: tuple[Path, Path]) -> None:
    drop_pair(pairs.input, "poison", image=image_of(13, 32))
    ran = sampoll("run", *pairs.flags, *TWO, "--model", "support.fakes:lost_once")
    assert ran.returncode == 0, ran.stderr
    assert "has ended with exit code 71; it is started again" in ran.stderr
    assert len(pairs.results) == 18


def test_a_killed_worker_is_started_again_and_no_pair_is_lost(pairs: Folders) -> None:
    with running_sampoll("run", *pairs.flags, *TWO, *SLOW) as parent:
        until(lambda: pairs.results, "the first result")
        os.kill(workers_of(parent)[0], signal.SIGKILL)
        assert parent.wait(60) == 0
    assert len(pairs.results) == 16
    assert pairs.failed == []


def test_a_pair_that_kills_its_process_fails_alone(pairs: Folders) -> None:
    drop_pair(pairs.input, "poison", image=image_of(13, 32))
    ran = sampoll("run", *pairs.flags, *TWO, "--model", "support.fakes:killing", "--max-attempts", 1)
    assert ran.returncode == 1, ran.stderr
    assert pairs.failed == ["poison.error.json", "poison.jpg", "poison.json"]
    assert len(pairs.results) == 16


def test_a_signal_stops_all_workers_in_order(pairs: Folders) -> None:
    with running_sampoll("run", *pairs.flags, *TWO, *SLOW) as parent:
        until(lambda: pairs.results, "the first result")
        workers = workers_of(parent)
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(30) == 75
    assert not any(map(is_alive, workers))
    assert pairs.failed == []
    assert len(pairs.waiting) == 16 - len(pairs.results)


def test_workers_stop_when_their_parent_is_killed(pairs: Folders) -> None:
    with running_sampoll("run", *pairs.flags, *TWO, "--continuous", *SLOW) as parent:
        until(lambda: pairs.results, "the first result")
        workers = workers_of(parent)
        assert len(workers) == 2
        parent.kill()
        parent.wait()
        until(lambda: not any(map(is_alive, workers)), "the end of the workers")
    assert pairs.failed == []
    assert len(pairs.waiting) == 16 - len(pairs.results)


def test_the_parent_imports_neither_numpy_nor_torch() -> None:
    modules = "sampoll.app.workers.run, sampoll.cli.main, sampoll.cli.run_end, sampoll.monitoring.console"
    code = f"import sys, {modules}; sys.exit(not {{'numpy', 'torch'}}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "flags",
    [
        ("--exclusive",),
        ("--stop-file", "stop"),
        ("--http", "0"),
        ("--metrics-file", "m"),
        ("--devices", "cpu"),
    ],
)
def test_what_several_workers_cannot_do_is_refused(pairs: Folders, flags: tuple[str, ...]) -> None:
    ran = sampoll("run", *pairs.flags, *TWO, *BOXES, *flags)
    assert ran.returncode == 2
    assert flags[0] in ran.stderr
