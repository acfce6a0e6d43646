"""Nodes: which processes are alive, and whose jobs are taken over."""

import json
import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager

import pytest
from support.spools import SELF_TEST_SETTINGS, abandon, claimed, contents, drop, everything, spool_in

from sampoll.core.errors import BadPrompt, Interrupted, OutOfMemory
from sampoll.files.files import subdirectories
from sampoll.files.presence import Machine, locked_if_dead
from sampoll.spool.layout import Layout
from sampoll.spool.nodes import joined
from sampoll.spool.recovery import Step
from sampoll.spool.spool import Spool, opened


def test_a_node_is_dead_once_its_process_has_ended_and_not_before(layout: Layout) -> None:
    layout.nodes.mkdir(parents=True)
    layout.work.mkdir()
    layout.stage.mkdir(parents=True)
    machine = Machine.this()
    with (
        joined(layout, SELF_TEST_SETTINGS) as node,
        locked_if_dead(node.lock, machine) as dead,
    ):
        assert not dead
    with locked_if_dead(node.lock, machine) as dead:
        assert dead


def test_a_node_of_another_machine_may_be_alive_and_one_of_an_earlier_boot_is_dead(
    layout: Layout,
) -> None:
    layout.nodes.mkdir(parents=True)
    (layout.nodes / "n").write_text(json.dumps({"host": "here", "boot": "earlier", "pid": 1}))

    with locked_if_dead(layout.nodes / "n", Machine("elsewhere", "now")) as dead:
        assert dead is None
    with locked_if_dead(layout.nodes / "n", Machine("here", "now")) as dead:
        assert dead


def test_a_process_that_was_taken_for_dead_can_publish_nothing(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as woken:
        claim = claimed(woken)
        woken.reserve(claim.state.job_id, [".png", ".json"])
        # As if its lock had not held it: another process takes its stage and its jobs.
        (layout.stage / woken._node.name).rename(layout.stage / "taken")

        with pytest.raises(FileNotFoundError):
            woken.publish({claim.state.job_id: contents(claim)})

        assert list(layout.output.glob("a*")) == []
        (layout.stage / "taken").rename(layout.stage / woken._node.name)


def test_jobs_of_another_machine_are_taken_once_it_has_been_silent_for_a_lease(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    abandon(layout, lambda spool, claim: None)
    [lock] = [path for path in layout.nodes.iterdir() if not path.name.startswith(".")]
    lock.write_text(json.dumps({"host": "elsewhere", "boot": "another", "pid": 1}))
    beat = lock.with_name(f".{lock.name}.beat")
    clock = [1000.0]
    monkeypatch.setattr("sampoll.spool.spool.time.monotonic", lambda: clock[0])

    with spool_in(layout) as spool:
        assert spool.recover() == []
        for count in range(5):  # as long as it beats, it lives
            clock[0] += 20
            beat.write_text(str(count))
            assert spool.recover() == []
        clock[0] += 29.9
        assert spool.recover() == []
        clock[0] += 0.1
        [claim] = spool.recover()
        assert spool.next_step(claim) is Step.TRY


def test_jobs_of_a_living_machine_are_not_taken_when_our_clock_is_set_forward(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    abandon(layout, lambda spool, claim: None)
    [lock] = [path for path in layout.nodes.iterdir() if not path.name.startswith(".")]
    lock.write_text(json.dumps({"host": "elsewhere", "boot": "another", "pid": 1}))
    with spool_in(layout) as spool:
        assert spool.recover() == []
        later = time.time() + 3600
        monkeypatch.setattr("time.time", lambda: later)
        assert spool.recover() == []


def test_a_process_that_was_only_silent_can_change_nothing_when_it_continues(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as woken:
        claim = claimed(woken)
        woken.begin([claim.state.job_id])
        woken.reserve(claim.state.job_id, [".png", ".json"])
        with opened(layout, SELF_TEST_SETTINGS.model_copy(update={"lease_seconds": 0})) as patient:
            [taken] = patient.recover()
            assert woken.is_fenced
            job_id = claim.state.job_id
            with pytest.raises(FileNotFoundError):
                woken.publish({job_id: contents(claim)})
            with pytest.raises(FileNotFoundError):
                woken.begin([job_id])
            for error in (BadPrompt("is bad"), OutOfMemory("too large")):
                with pytest.raises(FileNotFoundError):
                    woken.fail(job_id, error)
            woken.close()
            assert everything(layout) == {"a.jpg": b"image", "a.json": b"prompt"}
            assert list(layout.output.glob("a*")) == list(layout.failed.glob("*")) == []

            patient.reserve(taken.state.job_id, [".png", ".json"])
            patient.publish({taken.state.job_id: contents(taken)})

    assert sorted(p.name for p in layout.output.glob("a*")) == ["a.json", "a.png"]


def test_an_exclusive_process_shares_its_input_with_no_other(layout: Layout) -> None:
    def alone() -> AbstractContextManager[Spool]:
        return opened(layout, SELF_TEST_SETTINGS.model_copy(update={"exclusive": True}))

    def refused(spool: AbstractContextManager[Spool], message: str) -> None:
        with pytest.raises(Interrupted, match=message), spool:
            pytest.fail("was not refused")

    with spool_in(layout), spool_in(layout):
        refused(alone(), "is in use: run again later")
    with alone():
        refused(spool_in(layout), "wants it for itself")
        refused(alone(), "is in use")
    with spool_in(layout):
        pass


def test_an_orderly_end_removes_all_files_of_a_node(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        claimed(spool)
        spool.note_stopping()

    assert [path.name for path in layout.nodes.iterdir()] == [".lock"]
    assert subdirectories(layout.work) == subdirectories(layout.stage) == []


def test_the_node_file_names_its_process(layout: Layout) -> None:
    with spool_in(layout):
        [lock] = [path for path in layout.nodes.iterdir() if not path.name.startswith(".")]
        assert json.loads(lock.read_text())["pid"] == os.getpid()
        probe = f"import fcntl; fcntl.flock(open({str(lock)!r}, 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False).returncode == 1
