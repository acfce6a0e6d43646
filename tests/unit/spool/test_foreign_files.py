"""Files of other people where sampoll keeps its own."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.spools import abandon, claimed, contents, drop, spool_in

from sampoll.core.errors import OutOfMemory
from sampoll.files.files import subdirectories
from sampoll.spool import results
from sampoll.spool.claims import Claim
from sampoll.spool.layout import STATE, Layout
from sampoll.spool.recovery import Step
from sampoll.spool.spool import Spool
from sampoll.spool.state import JobState


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
