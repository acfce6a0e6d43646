"""The acts of the spool, one at a time, with a process that ends at any point between two of them."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import BadPrompt, Interrupted, JobError, OutOfMemory
from sampoll.files.files import move_unless_taken, subdirectories
from sampoll.files.presence import Machine, locked_if_dead
from sampoll.spool import claims, nodes, reservations, results
from sampoll.spool.claims import Claim
from sampoll.spool.journal import JOURNAL, Journal, read_journal
from sampoll.spool.layout import STATE, Layout
from sampoll.spool.nodes import joined
from sampoll.spool.recovery import Step
from sampoll.spool.spool import Spool, opened
from sampoll.spool.state import JobState

SELF_TEST_SETTINGS = SpoolSettings(settle_seconds=0, durability="off")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "in", tmp_path / "out", tmp_path / "in" / "done")
    layout.input.mkdir()
    layout.output.mkdir()
    return layout


@contextmanager
def spool_in(layout: Layout, durability: str = "batch") -> Iterator[Spool]:
    with opened(layout, SELF_TEST_SETTINGS.model_copy(update={"durability": durability})) as spool:
        yield spool
        spool.close()


def drop(layout: Layout, name: str = "a", content: bytes = b"image") -> None:
    (layout.input / f"{name}.jpg").write_bytes(content)
    (layout.input / f"{name}.json").write_bytes(b"prompt")


def claimed(spool: Spool) -> Claim:
    [group] = spool.sweep().ready
    claim = spool.take(group)
    assert spool.next_step(claim) is Step.TRY
    return claim


def contents(claim: Claim) -> list[tuple[str, bytes]]:
    return [(".png", b"mask"), (".json", claim.state.job_id.encode())]


def everything(layout: Layout) -> dict[str, bytes]:
    """Every user file, at any depth below the input."""
    return {
        p.name: p.read_bytes()
        for p in layout.input.rglob("*")
        if p.is_file() and p.suffix in (".jpg", ".json") and p.name != STATE
    }


def test_an_image_is_never_in_the_input_without_its_prompt(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could be taken with the default prompt: by another process, or by the next one after a kill."""
    drop(layout)
    moved: list[str] = []
    rename = Path.rename

    def renamed(path: Path, target: Path) -> Path:
        moved.append(path.name)
        return rename(path, target)

    def returned(source: Path, target: Path) -> bool:
        moved.append(source.name)
        return move_unless_taken(source, target)

    with spool_in(layout) as spool:
        monkeypatch.setattr(Path, "rename", renamed)
        claim = claimed(spool)
        assert [name for name in moved if name.startswith("a.")] == ["a.jpg", "a.json"]
        moved.clear()
        monkeypatch.setattr(claims, "move_unless_taken", returned)
        spool.give_back(claim)
        assert moved == ["a.json", "a.jpg"]


def abandon(layout: Layout, work: Callable[[Spool, Claim], object]) -> None:
    """Leaves the spool as a process leaves it that is killed after `work` on the claimed pair."""
    drop(layout)
    child = os.fork()
    if child == 0:
        with opened(layout, SELF_TEST_SETTINGS) as spool:
            work(spool, claimed(spool))
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0


def test_a_claim_moves_both_files_and_a_return_brings_them_back(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        claim = claimed(spool)
        assert list(layout.input.glob("a.*")) == []
        spool.give_back(claim)

    assert everything(layout) == {"a.jpg": b"image", "a.json": b"prompt"}
    assert subdirectories(layout.work) == []


def test_an_input_that_is_away_is_not_created_by_the_return_of_a_pair(layout: Layout, tmp_path: Path) -> None:
    drop(layout)
    away = tmp_path / "away"
    with spool_in(layout) as spool:
        claimed(spool)
        layout.input.rename(away)
        spool.close()
        assert not layout.input.exists()
        away.rename(layout.input)

    with spool_in(layout) as spool:
        assert set(claimed(spool).state.files) == {"a.jpg", "a.json"}


def test_only_one_of_two_processes_gets_a_pair(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as one, spool_in(layout) as other:
        [group] = one.sweep().ready
        assert one.next_step(one.take(group)) is Step.TRY
        loser = other.take(group)
        assert other.next_step(loser) is Step.GIVE_BACK
        assert other.give_back(loser) is None
        assert other.open_claims == 0


def test_a_file_that_changed_after_the_scan_is_not_claimed(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        [group] = spool.sweep().ready
        (layout.input / "a.jpg").write_bytes(b"image, and more")

        claim = spool.take(group)
        assert spool.next_step(claim) is Step.GIVE_BACK
        spool.give_back(claim)

    assert everything(layout) == {"a.jpg": b"image, and more", "a.json": b"prompt"}


def test_a_newer_file_of_the_name_of_a_claimed_one_is_not_overwritten(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        claimed(spool)
        drop(layout, content=b"newer")

    assert (layout.input / "a.jpg").read_bytes() == b"newer"
    [deferred] = subdirectories(layout.deferred)
    assert (deferred / "a.jpg").read_bytes() == b"image"


def test_a_prompt_with_the_name_of_a_state_file_is_a_prompt(layout: Layout) -> None:
    (layout.input / "state.jpg").write_bytes(b"image")
    (layout.input / "state.json").write_bytes(b"prompt")
    with spool_in(layout) as spool:
        claim = claimed(spool)
        assert sorted(path.name for path in claim.files()) == ["state.jpg", "state.json"]


def test_published_results_are_complete_and_the_inputs_are_kept(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        claim = claimed(spool)
        job_id = claim.state.job_id
        assert spool.reserve(job_id, [".png", ".json"]) == "a"
        spool.publish({job_id: contents(claim)})

    assert (layout.output / "a.png").read_bytes() == b"mask"
    assert sorted(p.name for p in (layout.input / "done").iterdir()) == ["a.jpg", "a.json"]
    assert list(layout.names.iterdir()) == []
    assert subdirectories(layout.work) == []
    assert subdirectories(layout.stage) == []


def test_the_directory_of_a_job_that_has_ended_is_that_of_the_next_one(layout: Layout) -> None:
    with spool_in(layout) as spool:
        inodes = []
        for _ in range(2):
            drop(layout)
            claim = claimed(spool)
            inodes.append(claim.directory.stat().st_ino)
            spool.reserve(claim.state.job_id, [".png", ".json"])
            spool.publish({claim.state.job_id: contents(claim)})
            assert claims.load(claim.directory).state.files == ()

    assert len(set(inodes)) == 1
    assert subdirectories(layout.work) == []


def test_a_directory_into_which_someone_puts_a_file_is_not_used_again(layout: Layout) -> None:
    with spool_in(layout) as spool:
        drop(layout)
        first = claimed(spool)
        spool.reserve(first.state.job_id, [".png", ".json"])
        spool.publish({first.state.job_id: contents(first)})
        (first.directory / "b.jpg").write_bytes(b"someone's")

        drop(layout, "b")
        assert claimed(spool).directory.parent == first.directory.parent
        assert (first.directory / "b.jpg").read_bytes() == b"someone's"


def test_directories_that_a_killed_process_kept_are_removed_and_are_no_jobs(layout: Layout) -> None:
    def end_one(spool: Spool, claim: Claim) -> None:
        spool.reserve(claim.state.job_id, [".png", ".json"])
        spool.publish({claim.state.job_id: contents(claim)})
        assert len(subdirectories(spool._node.work)) == 1

    abandon(layout, end_one)

    with spool_in(layout) as spool:
        assert spool.recover() == []
        assert [len(subdirectories(node)) for node in subdirectories(layout.work)] == [0]


def test_a_taken_name_is_versioned_and_nothing_is_overwritten(layout: Layout) -> None:
    (layout.output / "a.png").write_bytes(b"somebody else's")
    (layout.input / "done").mkdir()
    (layout.input / "done" / "a.jpg").write_bytes(b"older")
    drop(layout)
    with spool_in(layout) as spool:
        claim = claimed(spool)
        assert spool.reserve(claim.state.job_id, [".png", ".json"]) == "a~2"
        spool.publish({claim.state.job_id: contents(claim)})

    assert (layout.output / "a.png").read_bytes() == b"somebody else's"
    assert sorted(p.name for p in (layout.input / "done").iterdir()) == ["a.jpg", "a~2.jpg", "a~2.json"]


def test_two_unpublished_jobs_never_share_a_name(layout: Layout) -> None:
    with spool_in(layout) as spool:
        drop(layout)
        first = claimed(spool).state.job_id
        drop(layout)
        second = claimed(spool).state.job_id

        assert spool.reserve(first, [".0.png", ".1.png", ".json"]) == "a"
        assert spool.reserve(second, [".0.png", ".json"]) == "a~2"


def test_a_mask_of_one_job_never_takes_the_name_of_anothers(layout: Layout) -> None:
    with spool_in(layout) as spool:
        drop(layout, "a")
        many = claimed(spool).state.job_id
        drop(layout, "a.0")
        single = claimed(spool).state.job_id

        assert spool.reserve(many, [".0.png", ".1.png", ".json"]) == "a"
        assert spool.reserve(single, [".png", ".json"]) == "a.0~2"


def test_a_permanent_failure_has_a_report_beside_the_unchanged_inputs(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        error = BadPrompt("is missing", file="a.json", field="box.x0")
        assert spool.fail(claimed(spool).state.job_id, error) is None

    assert (layout.failed / "a.jpg").read_bytes() == b"image"
    assert (layout.failed / "a.json").read_bytes() == b"prompt"
    report = json.loads((layout.failed / "a.error.json").read_text())
    assert report["error"]["code"] == "bad-prompt"
    assert report["error"]["message"] == "a.json: box.x0: is missing"
    assert (report["error"]["file"], report["error"]["field"]) == ("a.json", "box.x0")
    assert report["files"] == ["a.json", "a.jpg"]


def test_a_transient_failure_waits_and_the_last_one_is_final(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampoll.spool.spool.random.random", lambda: 0.0)
    drop(layout)
    with spool_in(layout) as spool:
        job_id = claimed(spool).state.job_id
        for _ in range(2):
            assert spool.fail(job_id, OutOfMemory("too large")) == 0.0
            [deferral] = spool.deferrals()
            assert spool.take_deferred(deferral) is not None
        assert spool.fail(job_id, OutOfMemory("too large")) is None

    report = json.loads((layout.failed / "a.error.json").read_text())
    assert [e["code"] for e in (*report["earlier_errors"], report["error"])] == ["out-of-memory"] * 3


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


def test_a_crash_alone_is_a_strike_and_makes_a_suspect(layout: Layout) -> None:
    abandon(layout, lambda spool, claim: spool.begin([claim.state.job_id]))

    with spool_in(layout) as spool:
        [claim] = spool.recover()

        assert (claim.state.attempts, claim.state.strikes, claim.state.suspect) == (1, 1, True)
        assert spool.next_step(claim) is Step.TRY
        assert everything(layout) == {"a.jpg": b"image", "a.json": b"prompt"}


def test_a_crash_with_several_jobs_in_flight_is_no_strike_and_makes_all_of_them_suspects(
    layout: Layout,
) -> None:
    def two_in_flight(spool: Spool, first: Claim) -> None:
        drop(layout, "b")
        second = claimed(spool)
        spool.begin([first.state.job_id])
        spool.begin([second.state.job_id])

    abandon(layout, two_in_flight)

    with spool_in(layout) as spool:
        assert [(c.state.strikes, c.state.suspect) for c in spool.recover()] == [(0, True)] * 2


def test_a_kill_after_a_request_to_stop_counts_against_no_job(layout: Layout) -> None:
    def stopping(spool: Spool, claim: Claim) -> None:
        spool.begin([claim.state.job_id])
        spool.note_stopping()

    abandon(layout, stopping)

    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert (claim.state.strikes, claim.state.suspect) == (0, False)


def test_a_job_that_was_only_claimed_is_simply_tried(layout: Layout) -> None:
    abandon(layout, lambda spool, claim: None)

    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert (spool.next_step(claim), claim.state.attempts) == (Step.TRY, 0)


def test_a_half_claimed_pair_is_given_back(layout: Layout) -> None:
    abandon(layout, lambda spool, claim: (claim.directory / "a.jpg").rename(layout.input / "a.jpg"))

    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert spool.next_step(claim) is Step.GIVE_BACK
        assert spool.give_back(claim) is None

    assert sorted(p.name for p in layout.input.glob("a.*")) == ["a.jpg", "a.json"]


@pytest.mark.parametrize("content", [None, b"", b"{"], ids=["missing", "empty", "torn"])
def test_a_job_whose_state_is_lost_is_given_back(layout: Layout, content: bytes | None) -> None:
    def lose(_: Spool, claim: Claim) -> None:
        journal = claim.directory.parent / JOURNAL
        journal.unlink()
        if content is not None:
            journal.write_bytes(content)
            (claim.directory / STATE).write_bytes(content)

    abandon(layout, lose)

    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert spool.next_step(claim) is Step.GIVE_BACK
        spool.give_back(claim)

    assert sorted(p.name for p in layout.input.glob("a.*")) == ["a.jpg", "a.json"]
    assert subdirectories(layout.work) == []


def test_a_torn_claim_whose_name_was_taken_meanwhile_fails_and_loses_nothing(layout: Layout) -> None:
    def tear(_: Spool, claim: Claim) -> None:
        (claim.directory / "a.jpg").rename(layout.input / "a.jpg")
        (layout.input / "a.json").write_bytes(b"newer")

    abandon(layout, tear)

    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert isinstance(spool.give_back(claim), JobError)

    assert (layout.failed / "a.json").read_bytes() == b"prompt"
    assert (layout.input / "a.json").read_bytes() == b"newer"
    assert (layout.input / "a.jpg").read_bytes() == b"image"


def test_a_whole_pair_is_never_torn_because_one_of_its_names_was_taken(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        claimed(spool)
        (layout.input / "a.json").write_bytes(b"corrected")

    [deferred] = subdirectories(layout.deferred)
    assert (deferred / "a.jpg").read_bytes() == b"image"
    assert (deferred / "a.json").read_bytes() == b"prompt"
    assert (layout.input / "a.json").read_bytes() == b"corrected"


def test_a_job_keeps_its_reserved_names_after_an_orderly_end(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        spool.reserve(claimed(spool).state.job_id, [".png", ".json"])

    with spool_in(layout) as spool:
        [deferral] = spool.deferrals()
        again = spool.take_deferred(deferral)
        assert again is not None
        assert deferral.seconds == 0
        assert spool.reserve(again.state.job_id, [".png", ".json"]) == "a"


@pytest.mark.parametrize("name", ["x" * 245, "鹅" * 81, "\udce9" * 245], ids=["ascii", "chinese", "bytes"])
def test_the_longest_names_are_published_and_failed_under_shorter_ones(layout: Layout, name: str) -> None:
    (layout.input / "done").mkdir()
    for _ in range(2):
        with spool_in(layout) as spool:
            drop(layout, name)
            job_id = claimed(spool).state.job_id
            stem = spool.reserve(job_id, [".1000.png", ".json"])
            spool.publish({job_id: [(".1000.png", b"mask"), (".json", job_id.encode())]})
            drop(layout, name)
            spool.fail(claimed(spool).state.job_id, BadPrompt("is bad"))

        assert (layout.output / f"{stem}.1000.png").exists()
    assert len(list(layout.output.glob("*.json"))) == len(list(layout.failed.glob("*.error.json"))) == 2
    assert len(list((layout.input / "done").iterdir())) == 4


def test_a_failure_that_could_not_be_reported_is_reported_by_the_next_process(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    drop(layout)
    with spool_in(layout) as spool:
        job_id = claimed(spool).state.job_id
        with monkeypatch.context() as patched:
            patched.setattr("sampoll.spool.finish.move_all_unless_taken", full)
            with pytest.raises(OSError, match="No space"):
                spool.fail(job_id, BadPrompt("is bad"))

    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert spool.next_step(claim) is Step.MOVE_TO_FAILED
        spool.move_to_failed(claim)
    assert sorted(p.name for p in layout.failed.iterdir()) == ["a.error.json", "a.jpg", "a.json"]


def test_a_request_to_stop_that_cannot_be_saved_raises_no_error(layout: Layout) -> None:
    with spool_in(layout) as spool:
        spool._node.stopping.mkdir()  # so that it cannot be created
        (spool._node.stopping / "x").touch()

        spool.note_stopping()

        (spool._node.stopping / "x").unlink()
        spool._node.stopping.rmdir()


def test_a_reservation_of_a_cut_off_attempt_does_not_cover_other_peoples_files(layout: Layout) -> None:
    drop(layout)
    (layout.output / "a.png").write_bytes(b"somebody else's")
    with spool_in(layout) as spool:
        job_id = claimed(spool).state.job_id
        (layout.names / "a.png").write_text(job_id)  # made, and killed before it looked

        assert spool.reserve(job_id, [".png", ".json"]) == "a~2"


def test_a_file_in_the_output_that_leads_nowhere_is_not_overwritten(layout: Layout) -> None:
    (layout.output / "a.png").symlink_to("nowhere")
    drop(layout)
    with spool_in(layout) as spool:
        assert spool.reserve(claimed(spool).state.job_id, [".png", ".json"]) == "a~2"


def _publish_only(layout: Layout, spool: Spool, claim: Claim) -> Claim:
    spool.begin([claim.state.job_id])
    reserved = reservations.reserve(layout, claim, [".png", ".json"], reservations.VERSIONED)
    reserved = reserved.saved(reserved.state, sync=False)
    staged = results.stage(spool._node, reserved, contents(claim), sync=False)
    results.publish(layout, [staged], sync=False)
    return reserved


def test_a_job_whose_results_are_published_is_finished_and_not_done_again(layout: Layout) -> None:
    abandon(layout, lambda spool, claim: _publish_only(layout, spool, claim))

    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert spool.next_step(claim) is Step.FINISH
        spool.finish(claim)

    assert sorted(p.name for p in (layout.input / "done").iterdir()) == ["a.jpg", "a.json"]
    assert sorted(p.name for p in layout.output.glob("a*")) == ["a.json", "a.png"]


def test_a_job_that_was_finished_and_whose_end_was_not_noted_is_finished_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(spool: Spool, claim: Claim) -> None:
        monkeypatch.setattr(Journal, "end", lambda *_: os._exit(0))
        spool.begin([claim.state.job_id])
        spool.reserve(claim.state.job_id, [".png", ".json"])
        spool.publish({claim.state.job_id: contents(claim)})

    abandon(layout, end)

    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert spool.next_step(claim) is Step.FINISH
        spool.finish(claim)

    assert sorted(p.name for p in (layout.input / "done").iterdir()) == ["a.jpg", "a.json"]
    assert subdirectories(layout.work) == []


def test_names_that_were_reserved_and_not_saved_are_free_after_a_crash(layout: Layout) -> None:
    def reserve(spool: Spool, claim: Claim) -> None:
        spool.begin([claim.state.job_id])
        spool.reserve(claim.state.job_id, [".0.png", ".1.png", ".json"])

    abandon(layout, reserve)
    drop(layout, "a.0")

    with spool_in(layout) as spool:
        assert len(spool.recover()) == 1
        assert spool.reserve(claimed(spool).state.job_id, [".png", ".json"]) == "a.0"


def test_an_ending_that_was_cut_off_is_completed(layout: Layout) -> None:
    def cut_off(spool: Spool, claim: Claim) -> None:
        reserved = _publish_only(layout, spool, claim)
        reserved.saved(replace(reserved.state, kept_as="a"), sync=False)
        (claim.directory / "a.json").rename(layout.input / "done" / "a.json")

    abandon(layout, cut_off)

    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert spool.next_step(claim) is Step.FINISH
        spool.finish(claim)

    assert sorted(p.name for p in (layout.input / "done").iterdir()) == ["a.jpg", "a.json"]


def test_a_move_to_failed_that_was_cut_off_is_completed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(spool: Spool, claim: Claim) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("sampoll.spool.finish.sync_directory", lambda *_, **__: os._exit(0))
            spool.fail(claim.state.job_id, BadPrompt("is bad"))

    abandon(layout, cut_off)
    assert sorted(p.name for p in layout.failed.iterdir()) == ["a.error.json", "a.jpg", "a.json"]

    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert spool.next_step(claim) is Step.MOVE_TO_FAILED
        spool.move_to_failed(claim)

    assert sorted(p.name for p in layout.failed.iterdir()) == ["a.error.json", "a.jpg", "a.json"]


def test_a_crash_between_mask_and_record_leaves_one_version_in_the_end(layout: Layout) -> None:
    def only_the_mask(spool: Spool, claim: Claim) -> None:
        spool.begin([claim.state.job_id])
        spool.reserve(claim.state.job_id, [".png", ".json"])
        spool._save([spool._open[claim.state.job_id]])
        (layout.output / "a.png").write_bytes(b"from the first attempt")

    abandon(layout, only_the_mask)

    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert spool.next_step(claim) is Step.TRY
        assert spool.reserve(claim.state.job_id, [".png", ".json"]) == "a"
        spool.publish({claim.state.job_id: contents(claim)})

    assert sorted(p.name for p in layout.output.glob("a*")) == ["a.json", "a.png"]
    assert (layout.output / "a.png").read_bytes() == b"mask"


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


def test_an_ending_that_could_not_be_completed_waits_for_the_next_process(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        claim = claimed(spool)
        _publish_only(layout, spool, claim)
        monkeypatch.setattr(spool, "give_back", lambda _: pytest.fail("published, and yet given back"))
        spool._opened(replace(claim, state=replace(claim.state, stem="a", suffixes=(".png", ".json"))))

    assert list(layout.input.glob("a.*")) == []
    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert spool.next_step(claim) is Step.FINISH


# Files


def test_links_pipes_and_directories_are_no_files_of_a_pair(layout: Layout) -> None:
    (layout.input / "a.json").write_text("prompt")
    (layout.input.parent / "secret.jpg").write_text("secret")
    (layout.input / "a.jpg").symlink_to(layout.input.parent / "secret.jpg")
    os.mkfifo(layout.input / "b.jpg")
    (layout.input / "c.jpg").mkdir()
    with spool_in(layout) as spool:
        scan = spool.sweep()

    assert (scan.ready, scan.half) == ((), 1)


def test_a_link_whose_target_has_gone_or_changed_is_given_back(layout: Layout) -> None:
    layout = replace(layout, takes_links_and_hidden=True)
    target = layout.input.parent / "a.jpg"
    for change in (target.unlink, lambda: target.write_text("another one")):
        drop(layout)
        target.write_text("image")
        (layout.input / "a.jpg").unlink()
        (layout.input / "a.jpg").symlink_to(target)
        with spool_in(layout) as spool:
            [group] = spool.sweep().ready
            change()
            claim = spool.take(group)

            assert not claim.is_sound
            assert spool.next_step(claim) is Step.GIVE_BACK
        assert (layout.input / "a.jpg").is_symlink()


def test_the_node_file_names_its_process(layout: Layout) -> None:
    with spool_in(layout):
        [lock] = [path for path in layout.nodes.iterdir() if not path.name.startswith(".")]
        assert json.loads(lock.read_text())["pid"] == os.getpid()
        probe = f"import fcntl; fcntl.flock(open({str(lock)!r}, 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False).returncode == 1


def test_an_attempt_is_saved_when_it_begins(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        claim = claimed(spool)
        spool.begin([claim.state.job_id])

        assert claims.load(claim.directory, read_journal(claim.directory.parent)).state.attempts == 1
        assert nodes.was_stopping(layout, spool._node.name) is False


NODE = "host-1-0123abcd"
JOB = "0123456789abcdef" * 2


def put_foreign(path: Path, kind: str) -> None:
    """Something that sampoll has not written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "text":
            path.write_bytes(b"my thesis")
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to(path.parent)
        case "link to nothing":
            path.symlink_to(path.with_name("nothing"))
        case "directory":
            path.mkdir()
            (path / "thesis.txt").write_bytes(b"my thesis")


FOREIGN = ("text", "pipe", "link", "link to nothing", "directory")


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_other_people_put_among_the_nodes_and_jobs_is_passed_over(layout: Layout, kind: str) -> None:
    names = [NODE, f".{NODE}.beat", f".{NODE}.stopping", "thesis", ".thesis"]
    foreign = [layout.nodes / name for name in names]
    foreign += [layout.work / "thesis", layout.deferred / "thesis", layout.stage / "thesis"]
    for path in foreign:
        put_foreign(path, kind)
    drop(layout)

    with spool_in(layout) as spool:
        assert spool.recover() == []
        assert spool.deferrals() == []
        claim = claimed(spool)
        spool.reserve(claim.state.job_id, [".png", ".json"])
        spool.publish({claim.state.job_id: contents(claim)})

    assert [path for path in foreign if not os.path.lexists(path)] == []
    assert (layout.output / "a.png").read_bytes() == b"mask"


@pytest.mark.parametrize("kind", FOREIGN[1:])
def test_a_job_whose_state_is_no_file_stays_where_it_is_and_the_others_go_on(
    layout: Layout, kind: str
) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        assert spool.fail(claimed(spool).state.job_id, OutOfMemory("too large")) is not None
    dead = layout.work / NODE / JOB
    for directory in (layout.deferred / JOB, dead):
        put_foreign(directory / STATE, kind)
        (directory / "b.jpg").write_bytes(b"image")

    with spool_in(layout) as spool:
        for _ in range(2):
            assert [deferral.directory.name == JOB for deferral in spool.deferrals()] == [False]
            assert spool.recover() == []
        reported = [obstacle.path for obstacle in spool.new_obstacles()]

    assert (dead / "b.jpg").exists()
    assert (layout.deferred / JOB / "b.jpg").exists()
    assert reported == [str(path.relative_to(layout.input)) for path in (layout.deferred / JOB, dead)]


@pytest.mark.parametrize(
    "change",
    [
        {"files": ["../../../../hushhush"]},
        {"files": ["/etc/passwd"]},
        {"files": [".."]},
        {"files": [7]},
        {"folder": "../.."},
        {"folder": "/etc"},
        {"stem": "../x", "suffixes": [".png"]},
        {"kept_as": "../x"},
        {"suffixes": ["../.png"]},
        {"suffixes": ["png"]},
        {"job_id": ""},
        {"job_id": "f" * 32},
        {"attempts": "1"},
        {"not_before": float("inf")},
        {"rejected": True},
        {"failures": [{"code": "x", "message": "y", "at": 1e300}]},
        {"failures": [{"code": "x", "message": 1, "at": 0}]},
    ],
)
def test_a_state_that_leads_out_of_its_job_is_not_believed(layout: Layout, change: dict[str, object]) -> None:
    hushhush = layout.input.parent / "hushhush"
    hushhush.write_bytes(b"secret")
    state = json.loads(JobState(JOB, "a", ("a.jpg",)).to_json())
    job = layout.deferred / JOB
    job.mkdir(parents=True)
    (job / "a.jpg").write_bytes(b"image")
    (job / STATE).write_text(json.dumps({**state, **change}))

    with spool_in(layout) as spool:
        [deferral] = spool.deferrals()
        claim = spool.take_deferred(deferral)
        assert claim is not None
        assert spool.next_step(claim) is Step.GIVE_BACK
        assert spool.give_back(claim) is None

    assert hushhush.read_bytes() == b"secret"
    assert (layout.input / "a.jpg").read_bytes() == b"image"


def test_a_file_that_someone_adds_to_a_job_goes_to_the_input(layout: Layout) -> None:
    def add_a_file(spool: Spool, claim: Claim) -> None:
        (claim.directory / "thesis.txt").write_bytes(b"my thesis")
        spool.reserve(claim.state.job_id, [".png", ".json"])
        spool.publish({claim.state.job_id: contents(claim)})

    abandon(layout, add_a_file)
    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert spool.next_step(claim) is Step.GIVE_BACK
        spool.give_back(claim)

    assert (layout.input / "thesis.txt").read_bytes() == b"my thesis"
    assert list(layout.work.iterdir()) == []
    assert [path.name for path in layout.nodes.iterdir()] == [".lock"]


def test_a_file_that_someone_adds_to_a_stage_is_kept(layout: Layout) -> None:
    def stage_and_add(spool: Spool, claim: Claim) -> None:
        results.stage(spool._node, claim, contents(claim), sync=False)
        (spool._node.stage / "thesis.txt").write_bytes(b"my thesis")

    abandon(layout, stage_and_add)
    with spool_in(layout) as spool:
        assert len(spool.recover()) == 1

    assert [p.read_bytes() for p in layout.stage.rglob("*") if p.is_file()] == [b"my thesis"]
    assert [path.name for path in layout.nodes.iterdir()] == [".lock"]


def test_a_link_in_the_place_of_a_stage_costs_no_file(layout: Layout) -> None:
    photos = layout.output.parent / "photos"
    photos.mkdir()
    (photos / f"{JOB}.jpg").write_bytes(b"image")
    (layout.work / NODE).mkdir(parents=True)
    layout.stage.mkdir(parents=True)
    (layout.stage / NODE).symlink_to(photos)

    with spool_in(layout) as spool:
        assert spool.recover() == []

    assert (photos / f"{JOB}.jpg").read_bytes() == b"image"


def test_a_result_over_anyones_is_also_one_over_what_came_late(layout: Layout) -> None:
    drop(layout)
    with opened(layout, SELF_TEST_SETTINGS, reservations.Naming(reservations.OnExist.OVERWRITE)) as spool:
        claim = claimed(spool)
        spool.reserve(claim.state.job_id, [".png", ".json"])
        (layout.output / "a.png").write_bytes(b"somebody else's")
        assert spool.publish({claim.state.job_id: contents(claim)}) == {}

    assert (layout.output / "a.png").read_bytes() == b"mask"


def test_what_a_node_leaves_in_its_stage_is_removed_by_the_next_one(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        results.stage(spool._node, claimed(spool), [(".png", b"mask"), ("png8/.png", b"mask")], sync=False)
    assert subdirectories(layout.stage) != []

    with spool_in(layout) as spool:
        spool.recover()

    assert list(layout.stage.iterdir()) == []


@pytest.mark.parametrize("late", ["a.png", "a.json"])
def test_a_file_that_comes_into_the_output_after_its_name_was_reserved_is_kept(
    layout: Layout, late: str
) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        claim = claimed(spool)
        assert spool.reserve(claim.state.job_id, [".png", ".json"]) == "a"
        (layout.output / late).write_bytes(b"somebody else's")

        troubles = spool.publish({claim.state.job_id: contents(claim)})

        assert [str(error) for error in troubles.values()] == [
            f"{late} came into the output from elsewhere while the job was done"
        ]

        assert [p.name for p in layout.output.iterdir() if p.suffix] == [late]
        assert spool.reserve(claim.state.job_id, [".png", ".json"]) == "a~2"
        assert spool.publish({claim.state.job_id: contents(claim)}) == {}

    assert (layout.output / late).read_bytes() == b"somebody else's"
    assert sorted(layout.output.glob("a~2.*")) == [layout.output / "a~2.json", layout.output / "a~2.png"]
    assert [p.name for p in layout.names.iterdir()] == []


@pytest.mark.parametrize("name", [".sampoll", ".sampoll/nodes", ".sampoll/work", "done"])
def test_a_link_in_the_place_of_a_directory_of_ours_is_not_followed(layout: Layout, name: str) -> None:
    outside = layout.input.parent / "outside"
    outside.mkdir()
    (layout.input / name).parent.mkdir(exist_ok=True)
    (layout.input / name).symlink_to(outside)

    with pytest.raises(NotADirectoryError), spool_in(layout):
        pass

    assert list(outside.iterdir()) == []


def test_a_lock_that_is_no_file_is_an_error_and_not_a_wait(layout: Layout) -> None:
    layout.nodes.mkdir(parents=True)
    os.mkfifo(layout.nodes / ".lock")

    with pytest.raises(OSError, match="lock"), spool_in(layout):
        pass


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_record_or_a_reservation_that_is_not_ours_takes_the_name(layout: Layout, kind: str) -> None:
    put_foreign(layout.output / "a.json", kind)
    put_foreign(layout.names / "a~2.json", kind)
    drop(layout)
    with spool_in(layout) as spool:
        claim = claimed(spool)
        assert spool.reserve(claim.state.job_id, [".png", ".json"]) == "a~3"
        spool.publish({claim.state.job_id: contents(claim)})

    assert os.path.lexists(layout.output / "a.json")
    assert os.path.lexists(layout.names / "a~2.json")
