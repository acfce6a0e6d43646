"""Several processes on one input: some are stopped and continue, others were on machines that are gone."""

import json
import signal
import time
from pathlib import Path

from support.folders import Folders, drop_pair, names_in
from support.images import image_of
from support.oracle import GOOD, TWO, Dropped
from support.process import running_sampoll, sampoll, until

BOXES = ("--model", "support.fakes:boxes")
POINT = {"points": [{"x": 1, "y": 1, "label": 1}]}


def test_a_process_that_is_stopped_loses_its_jobs_and_changes_nothing_when_it_continues(
    folders: Folders, gate: tuple[Path, Path]
) -> None:
    started, go = gate
    drop_pair(folders.input, "a", POINT, image=image_of(13, 32))
    lease = ("--continuous", "--lease", 1)
    with running_sampoll("run", *folders.flags, *lease, "--model", "support.fakes:waiting") as sleeper:
        until(started.exists, "the job of the first process")
        sleeper.send_signal(signal.SIGSTOP)
        with running_sampoll("run", *folders.flags, *lease, *BOXES) as heir:
            until(lambda: folders.results == ["a.json", "a.png"], "the result of the second process")
            until(lambda: len(folders.done) == 2, "the end of the job")
            record = (folders.output / "a.json").read_bytes()
            go.touch()
            sleeper.send_signal(signal.SIGCONT)
            # The one that woke serves on, as a new node beside the other.
            until(lambda: f"-{sleeper.pid}-" in "".join(nodes_of(folders)), "the new node")
            time.sleep(1)
            assert (folders.output / "a.json").read_bytes() == record
            assert folders.results == ["a.json", "a.png"]
            heir.send_signal(signal.SIGTERM)
            assert heir.wait(30) == 0
        drop_pair(folders.input, "b")
        until(lambda: "b.json" in folders.results, "a result of the one that woke")
        sleeper.send_signal(signal.SIGTERM)
        assert sleeper.wait(30) == 0
    assert folders.failed == []


def test_a_process_whose_model_hangs_loses_its_jobs_to_another_one(
    folders: Folders, gate: tuple[Path, Path]
) -> None:
    started, go = gate
    drop_pair(folders.input, "a", POINT, image=image_of(13, 32))
    lease = ("--continuous", "--lease", 1)
    wedged = ("--model", "support.fakes:waiting", "--stall", 1)
    with running_sampoll("run", *folders.flags, *lease, *wedged) as hanging:
        until(started.exists, "the job of the first process")
        with running_sampoll("run", *folders.flags, *lease, *BOXES) as heir:
            until(lambda: folders.results == ["a.json", "a.png"], "the result of the second process")
            until(lambda: len(folders.done) == 2, "the end of the job")
            assert hanging.poll() is None
            # Of the first one, a restart would help.
            until(lambda: sampoll("status").returncode == 1, "the verdict")
            record = (folders.output / "a.json").read_bytes()
            go.touch()
            until(lambda: sampoll("status").returncode == 0, "the first process to get on")
            assert (folders.output / "a.json").read_bytes() == record
            heir.send_signal(signal.SIGTERM)
            assert heir.wait(30) == 0
        hanging.send_signal(signal.SIGTERM)
        assert hanging.wait(30) == 0
    assert folders.results == ["a.json", "a.png"]
    assert folders.failed == []


def nodes_of(folders: Folders) -> list[str]:
    return names_in(folders.input / ".sampoll" / "nodes")


def test_jobs_of_a_machine_that_is_gone_are_done_after_the_lease(
    folders: Folders, gate: tuple[Path, Path]
) -> None:
    started, _ = gate
    drop_pair(folders.input, "a", POINT, image=image_of(13, 32))
    with running_sampoll(
        "run", *folders.flags, "--continuous", "--model", "support.fakes:waiting"
    ) as process:
        until(started.exists, "the job")
        process.kill()
        process.wait()
    [node] = nodes_of(folders)
    owner = folders.input / ".sampoll" / "nodes" / node
    owner.write_text(json.dumps({"host": "elsewhere", "boot": "another", "pid": 1}))

    with running_sampoll("run", *folders.flags, "--continuous", "--lease", 1, *BOXES) as process:
        until(lambda: folders.results == ["a.json", "a.png"], "the result")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert nodes_of(folders) == []


def test_a_process_that_works_for_longer_than_the_lease_keeps_its_job(
    folders: Folders, gate: tuple[Path, Path]
) -> None:
    started, go = gate
    drop_pair(folders.input, "a", POINT, image=image_of(13, 32))
    lease = ("--continuous", "--lease", 0.5)
    with running_sampoll("run", *folders.flags, *lease, "--model", "support.fakes:waiting") as worker:
        until(started.exists, "the job")
        with running_sampoll("run", *folders.flags, *lease, *BOXES) as other:
            until(lambda: len(nodes_of(folders)) == 2, "the other process")
            time.sleep(2)  # several leases
            assert folders.results == []
            go.touch()
            until(lambda: folders.results == ["a.json", "a.png"], "the result")
            for process in (worker, other):
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0


def test_an_exclusive_run_refuses_to_share_and_touches_nothing(
    folders: Folders, gate: tuple[Path, Path]
) -> None:
    started, go = gate
    drop_pair(folders.input, "a", POINT, image=image_of(13, 32))
    # It looks again only when its job is done, or it would take what comes meanwhile.
    waiting = ("--rescan", 600, "--model", "support.fakes:waiting", "--exclusive")
    with running_sampoll("run", *folders.flags, *waiting) as first:
        until(started.exists, "the first run")
        drop_pair(folders.input, "b")
        second = sampoll("run", *folders.flags, *BOXES, "--exclusive")
        assert second.returncode == 75
        assert "is in use: run again later" in second.stderr
        assert folders.waiting == ["b.jpg", "b.json"]
        go.touch()
        assert first.wait(30) == 0
    assert len(folders.results) == 4


def test_a_slow_process_leaves_to_others_what_it_cannot_begin_soon(
    folders: Folders, gate: tuple[Path, Path]
) -> None:
    started, go = gate
    drop_pair(folders.input, "00", POINT, image=image_of(13, 32))  # the model waits at this one
    for number in range(1, 13):
        drop_pair(folders.input, f"{number:02}", GOOD)
    slow = ("--model", "support.fakes:waiting", "--batch-size", 1)
    with running_sampoll("run", *folders.flags, *slow) as first:
        until(started.exists, "the first process to begin")
        assert sampoll("run", *folders.flags, *BOXES, "--limit", 10).returncode == 0
        assert len(folders.results) == 2 * 10
        go.touch()
        assert first.wait(30) == 0
    assert len(folders.results) == 2 * 13


def test_runs_that_overlap_do_everything_once(folders: Folders) -> None:
    dropped = Dropped(folders)
    for number in range(60):
        dropped.pair(f"{number:02}", GOOD if number % 3 else TWO)
    runs = [running_sampoll("run", *folders.flags, *BOXES) for _ in range(3)]
    with runs[0] as one, runs[1] as two, runs[2] as three:
        until(lambda: len(folders.results) > 10, "some results")
        two.kill()
        assert {process.wait(60) for process in (one, three)} == {0}

    assert sampoll("run", *folders.flags, *BOXES).returncode == 0
    dropped.assert_everything_ended_once()
