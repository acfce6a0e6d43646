"""Names of results: which job gets which, and what a reservation leaves behind."""

import errno
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from sampoll.files.files import ensure_below
from sampoll.spool.claims import Claim
from sampoll.spool.layout import Layout
from sampoll.spool.reservations import (
    VERSIONED,
    Naming,
    OnExist,
    free_abandoned_names,
    free_names,
    reserve,
)
from sampoll.spool.state import JobState

ONE, TWO = [".png", ".json"], [".0.png", ".1.png", ".json"]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "in", tmp_path / "out", None)
    layout.output.mkdir()
    ensure_below(layout.output, layout.names)
    return layout


def job(layout: Layout, path: str) -> Claim:
    folder, _, name = path.rpartition("/")
    job_id = uuid.uuid4().hex
    directory = layout.work / job_id
    directory.mkdir(parents=True)
    return Claim(directory, JobState(job_id, name, (f"{name}.jpg",), folder))


def reserved(layout: Layout, claim: Claim, suffixes: Sequence[str]) -> Claim:
    return reserve(layout, claim, suffixes, VERSIONED)


def names(layout: Layout) -> list[str]:
    return sorted(str(p.relative_to(layout.names)) for p in layout.names.rglob("*") if not p.is_dir())


@pytest.mark.parametrize(
    ("theirs", "path", "suffixes", "is_overwritten"),
    [
        (["a.png"], "a", ONE, True),
        (["a.png", "a.json"], "a", ONE, True),
        (["a.0.png"], "a", TWO, True),
        (["a.0.png", "a.json"], "a", TWO, True),
        (["a.0.png", "a.0.json"], "a", TWO, False),
        (["x/a.b.0.png", "x/a.b.json"], "x/a", [".b.0.png", ".json"], False),
        (["png8/a.png", "png8/a.json"], "a", ["png8/.png", ".json"], False),
    ],
)
def test_files_of_any_origin_are_overwritten_except_those_of_other_results(
    layout: Layout, theirs: list[str], path: str, suffixes: list[str], is_overwritten: bool
) -> None:
    for name in theirs:
        file = layout.output / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")

    claim = reserve(layout, job(layout, path), suffixes, Naming(OnExist.OVERWRITE))

    assert (claim.state.stem == claim.state.name) == is_overwritten


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("a", ONE), ("a", ONE)),
        (("a", ONE), ("a", TWO)),
        (("a", TWO), ("a.0", ONE)),
        (("a.0", ONE), ("a", TWO)),
        (("a.b", [".0.png", ".json"]), ("a", [".b.0.png", ".json"])),
        (("a", ["png8/.png", ".json"]), ("png8/a", ONE)),
        (("png8/a", ONE), ("a", ["png8/.png", ".json"])),
        (("x/a", TWO), ("x/a.1", ONE)),
        (("a.0", [".json"]), ("a", [".0.json", ".json"])),
    ],
)
def test_no_two_jobs_can_publish_one_name(
    layout: Layout, first: tuple[str, list[str]], second: tuple[str, list[str]]
) -> None:
    claims = [reserved(layout, job(layout, path), suffixes) for path, suffixes in (first, second)]

    chosen = [{claim.state.result(suffix) for suffix in claim.state.suffixes} for claim in claims]
    assert not set.intersection(*chosen)
    assert [claim.state.stem == claim.state.name for claim in claims] == [True, False]
    for claim in claims:
        free_names(layout, claim.state)
    assert names(layout) == []


def test_a_name_that_only_one_job_can_have_costs_no_reservation(layout: Layout) -> None:
    reserved(layout, job(layout, "a"), ONE)

    assert names(layout) == ["a.json"]


def test_a_reservation_of_a_version_that_wrote_files_counts(layout: Layout) -> None:
    claim, other = job(layout, "a"), job(layout, "b")
    for owner in (claim, other):
        for suffix in ONE:
            (layout.names / owner.state.result(suffix)).write_text(owner.state.job_id)

    assert reserved(layout, job(layout, "b"), ONE).state.stem == "b~2"
    ours = reserved(layout, claim, ONE)
    assert ours.state.stem == "a"
    free_names(layout, ours.state)
    assert names(layout) == ["b.json", "b.png", "b~2.json"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_names_are_reserved_on_filesystems_without_links(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "symlink_to", refuse)
    first, second = (reserved(layout, job(layout, "a"), TWO) for _ in range(2))

    assert [first.state.stem, second.state.stem] == ["a", "a~2"]
    assert (
        reserved(layout, Claim(first.directory, JobState(first.state.job_id, "a", ())), TWO).state.stem == "a"
    )
    for claim in (first, second):
        free_names(layout, claim.state)
    assert names(layout) == []


def test_a_name_in_an_output_that_is_away_is_not_reserved(layout: Layout) -> None:
    layout.output.rename(layout.output.with_name("away"))

    for path in ("a", "x/a"):
        with pytest.raises(FileNotFoundError):
            reserved(layout, job(layout, path), ONE)
    assert not layout.output.exists()


@pytest.mark.parametrize("path", ["a", "x/a"])
def test_names_that_a_killed_process_was_reserving_are_freed(layout: Layout, path: str) -> None:
    reserved(layout, job(layout, f"{path}b"), ONE)
    of_others = names(layout)
    claim = job(layout, path)
    reserved(layout, claim, [".0.png", "png8/.0.png", ".json"])
    (layout.names / f".{claim.state.job_id}").write_text(claim.state.job_id)

    free_abandoned_names(layout, claim.state)  # it was not saved that they are reserved

    assert names(layout) == of_others


def test_names_that_were_saved_are_kept_when_those_of_the_next_attempt_are_freed(layout: Layout) -> None:
    first = reserved(layout, job(layout, "a"), TWO)  # saved, and perhaps published in part

    reserved(layout, first, [*TWO, ".2.png", "png8/.0.png"])
    assert len(names(layout)) == 5
    free_abandoned_names(layout, first.state)

    assert names(layout) == ["a.0.png", "a.1.png", "a.json"]
