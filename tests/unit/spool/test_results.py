"""Results: names, their reservation, and files that become visible at once."""

import pytest
from support.spools import SELF_TEST_SETTINGS, abandon, claimed, contents, drop, spool_in

from sampoll.core.errors import BadPrompt
from sampoll.files.files import subdirectories
from sampoll.spool import claims, reservations
from sampoll.spool.claims import Claim
from sampoll.spool.layout import Layout
from sampoll.spool.spool import Spool, opened


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


def test_a_result_over_anyones_is_also_one_over_what_came_late(layout: Layout) -> None:
    drop(layout)
    with opened(layout, SELF_TEST_SETTINGS, reservations.Naming(reservations.OnExist.OVERWRITE)) as spool:
        claim = claimed(spool)
        spool.reserve(claim.state.job_id, [".png", ".json"])
        (layout.output / "a.png").write_bytes(b"somebody else's")
        assert spool.publish({claim.state.job_id: contents(claim)}) == {}

    assert (layout.output / "a.png").read_bytes() == b"mask"
