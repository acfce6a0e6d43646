"""What a process that was killed leaves, and what the next one makes of it."""

import os

import pytest
from support.spools import abandon, claimed, contents, drop, everything, publish_only, spool_in

from sampoll.core.errors import JobError
from sampoll.files.files import subdirectories
from sampoll.spool import claims, nodes
from sampoll.spool.claims import Claim
from sampoll.spool.journal import JOURNAL, Journal, read_journal
from sampoll.spool.layout import STATE, Layout
from sampoll.spool.recovery import Step
from sampoll.spool.spool import Spool


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


def test_a_request_to_stop_that_cannot_be_saved_raises_no_error(layout: Layout) -> None:
    with spool_in(layout) as spool:
        spool._node.stopping.mkdir()  # so that it cannot be created
        (spool._node.stopping / "x").touch()

        spool.note_stopping()

        (spool._node.stopping / "x").unlink()
        spool._node.stopping.rmdir()


def test_a_job_whose_results_are_published_is_finished_and_not_done_again(layout: Layout) -> None:
    abandon(layout, lambda spool, claim: publish_only(layout, spool, claim))

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


def test_a_crash_between_mask_and_record_leaves_one_version_in_the_end(layout: Layout) -> None:
    def only_the_mask(spool: Spool, claim: Claim) -> None:
        spool.begin([claim.state.job_id])
        spool.reserve(claim.state.job_id, [".png", ".json"])
        spool._save([spool._open[claim.state.job_id]], sync=False)
        (layout.output / "a.png").write_bytes(b"from the first attempt")

    abandon(layout, only_the_mask)

    with spool_in(layout) as spool:
        [claim] = spool.recover()
        assert spool.next_step(claim) is Step.TRY
        assert spool.reserve(claim.state.job_id, [".png", ".json"]) == "a"
        spool.publish({claim.state.job_id: contents(claim)})

    assert sorted(p.name for p in layout.output.glob("a*")) == ["a.json", "a.png"]
    assert (layout.output / "a.png").read_bytes() == b"mask"


def test_an_attempt_is_saved_when_it_begins(layout: Layout) -> None:
    drop(layout)
    with spool_in(layout) as spool:
        claim = claimed(spool)
        spool.begin([claim.state.job_id])

        assert claims.load(claim.directory, read_journal(claim.directory.parent)).state.attempts == 1
        assert nodes.was_stopping(layout, spool._node.name) is False
