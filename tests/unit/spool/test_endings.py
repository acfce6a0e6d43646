"""How a job ends: done, failed, or deferred; also if its end is cut off."""

import errno
import json
import os
from dataclasses import replace

import pytest
from support.spools import abandon, claimed, drop, publish_only, spool_in

from sampoll.core.errors import BadPrompt, OutOfMemory
from sampoll.spool.claims import Claim
from sampoll.spool.layout import Layout
from sampoll.spool.recovery import Step
from sampoll.spool.spool import Spool


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


def test_an_ending_that_was_cut_off_is_completed(layout: Layout) -> None:
    def cut_off(spool: Spool, claim: Claim) -> None:
        reserved = publish_only(layout, spool, claim)
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


def test_an_ending_that_could_not_be_completed_waits_for_the_next_process(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        claim = claimed(spool)
        publish_only(layout, spool, claim)
        monkeypatch.setattr(spool, "give_back", lambda _: pytest.fail("published, and yet given back"))
        spool._opened(replace(claim, state=replace(claim.state, stem="a", suffixes=(".png", ".json"))))

    assert list(layout.input.glob("a.*")) == []
    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert spool.next_step(claim) is Step.FINISH
