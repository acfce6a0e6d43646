"""What cannot be read or moved: reported once, tried again now and then, and told from failing storage."""

import errno
import os
from pathlib import Path
from unittest import mock

import pytest

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import SampollError, UnmovableInput
from sampoll.spool import finish
from sampoll.spool.claims import Claim
from sampoll.spool.layout import Layout
from sampoll.spool.obstacles import FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, RETRIES_PER_SCAN, Obstacles
from sampoll.spool.recovery import Step
from sampoll.spool.spool import opened

ERROR = UnmovableInput("cannot be moved")
SETTINGS = SpoolSettings(settle_seconds=0, durability="off", recursive=True)


def noted(*paths: str) -> Obstacles:
    obstacles = Obstacles(retries=True)
    for path in paths:
        obstacles.note(path, ERROR, now=0.0)
    return obstacles


def test_an_obstacle_blocks_its_own_path_and_is_reported_once() -> None:
    obstacles = noted("a", "a")

    assert (obstacles.blocks("a"), obstacles.blocks("b")) == (True, False)
    assert [obstacle.path for obstacle in obstacles.unreported()] == ["a"]
    assert obstacles.unreported() == []


def test_an_obstacle_that_is_gone_is_forgotten_after_its_retry() -> None:
    obstacles = noted("a")
    obstacles.begin_scan(FIRST_RETRY_SECONDS - 1)
    assert obstacles.blocks("a")

    obstacles.begin_scan(FIRST_RETRY_SECONDS)
    assert (obstacles.blocks("a"), len(obstacles)) == (False, 1)

    obstacles.begin_scan(FIRST_RETRY_SECONDS)
    assert len(obstacles) == 0


def test_an_obstacle_that_stays_is_tried_at_longer_intervals_in_silence() -> None:
    obstacles, now = noted("a"), 0.0
    delays: list[float] = []
    obstacles.unreported()
    while len(delays) < 8:
        before = now
        while obstacles.blocks("a"):
            now += 1.0
            obstacles.begin_scan(now)
        delays.append(now - before)
        obstacles.note("a", ERROR, now)

    assert delays == [min(FIRST_RETRY_SECONDS * 2**n, MAX_RETRY_SECONDS) for n in range(8)]
    assert obstacles.unreported() == []


def test_few_obstacles_are_tried_in_one_scan_and_all_in_turn() -> None:
    names = [str(number) for number in range(3 * RETRIES_PER_SCAN)]
    obstacles, tried = noted(*names), []
    for _ in range(3):
        obstacles.begin_scan(FIRST_RETRY_SECONDS)
        trying = [name for name in names if not obstacles.blocks(name)]
        assert len(trying) == RETRIES_PER_SCAN
        for name in trying:
            obstacles.note(name, ERROR, FIRST_RETRY_SECONDS)
        tried += trying

    assert tried == names


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "in", tmp_path / "out", tmp_path / "in" / "done", recursive=True)
    for directory in (layout.input, layout.input / "sub", layout.output):
        directory.mkdir()
    for stem in ("a", "b", "sub/c"):
        for suffix in (".jpg", ".json"):
            (layout.input / f"{stem}{suffix}").write_bytes(b"content")
    return layout


PATH_ERRORS = [
    "EPERM",
    "EACCES",
    "EIO",
    "ESTALE",
    "EBUSY",
    "ELOOP",
    "ENAMETOOLONG",
    "EXDEV",
    "ETXTBSY",
    "EUCLEAN",
]


@pytest.mark.parametrize("name", PATH_ERRORS)
def test_an_error_of_one_rename_leaves_that_pair_and_claims_the_next(layout: Layout, name: str) -> None:
    number, rename = getattr(errno, name), os.rename

    def failing(path: str | Path, target: str | Path) -> None:
        if Path(path) == layout.input / "a.jpg":
            raise OSError(number, os.strerror(number), str(path), None, str(target))
        rename(path, target)

    with opened(layout, SETTINGS) as spool, mock.patch.object(os, "rename", failing):
        bad, good, _ = sorted(spool.sweep().ready, key=lambda group: group.stem)

        claim = spool.take(bad)
        assert spool.next_step(claim) is Step.GIVE_BACK
        spool.give_back(claim)

        assert [obstacle.path for obstacle in spool.new_obstacles()] == ["a"]
        assert [group.stem for group in spool.sweep().ready] == ["b", "sub/c"]
        assert spool.next_step(spool.take(good)) is Step.TRY
        spool.close()
    assert {path.name for path in layout.input.glob("*.j*")} == {"a.jpg", "a.json", "b.jpg", "b.json"}


@pytest.mark.parametrize("name", ["EIO", "EACCES", "ENOSPC", "EROFS"])
def test_an_error_of_every_rename_is_that_of_the_storage(layout: Layout, name: str) -> None:
    number = getattr(errno, name)

    def failing(path: str | Path, target: str | Path) -> None:
        raise OSError(number, os.strerror(number), str(path), None, str(target))

    with opened(layout, SETTINGS) as spool:
        group = spool.sweep().ready[0]
        with mock.patch.object(os, "rename", failing), pytest.raises((OSError, SampollError)):
            spool.take(group)
        assert spool.new_obstacles() == []
        spool.close()


@pytest.mark.parametrize("name", ["EACCES", "EIO", "ELOOP", "ENAMETOOLONG", "ENOTCONN", "ESTALE"])
def test_an_error_of_one_folder_leaves_that_folder(layout: Layout, name: str) -> None:
    number, scandir = getattr(errno, name), os.scandir

    def failing(path: Path) -> object:
        if path == layout.input / "sub":
            raise OSError(number, os.strerror(number), str(path))
        return scandir(path)

    with opened(layout, SETTINGS) as spool:
        with mock.patch("os.scandir", failing):
            assert [group.stem for group in spool.sweep().ready] == ["a", "b"]

        [obstacle] = spool.new_obstacles()
        assert obstacle.path == "sub/"
        assert str(obstacle.error) == f"cannot be listed: {os.strerror(number)}"


def test_a_folder_that_vanishes_while_it_is_listed_is_no_obstacle(layout: Layout) -> None:
    scandir = os.scandir

    def vanishing(path: Path) -> object:
        if path == layout.input / "sub":
            raise FileNotFoundError(errno.ENOENT, "gone", str(path))
        return scandir(path)

    with opened(layout, SETTINGS) as spool, mock.patch("os.scandir", vanishing):
        assert [group.stem for group in spool.sweep().ready] == ["a", "b"]
        assert spool.new_obstacles() == []


@pytest.mark.parametrize("name", ["EIO", "EACCES", "ENOTCONN", "EMFILE"])
def test_an_error_of_the_input_itself_is_raised(layout: Layout, name: str) -> None:
    number = getattr(errno, name)
    with (
        opened(layout, SETTINGS) as spool,
        mock.patch("os.scandir", side_effect=OSError(number, os.strerror(number))),
        pytest.raises(OSError, match=os.strerror(number)),
    ):
        spool.sweep()


def test_storage_that_fails_between_two_ends_keeps_the_outcome_of_the_first(layout: Layout) -> None:
    end = finish.finish
    calls: list[Claim] = []

    def failing(layout: Layout, claim: Claim, ensure_kept: finish.EnsureKept) -> None:
        calls.append(claim)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        end(layout, claim, ensure_kept)

    with opened(layout, SETTINGS) as spool:
        first, second, _ = (spool.take(group).state.job_id for group in spool.sweep().ready)
        for job_id in (first, second):
            spool.reserve(job_id, [".json"])
        with mock.patch("sampoll.spool.finish.finish", failing):
            troubles = spool.publish({job_id: [(".json", job_id.encode())] for job_id in (first, second)})

    assert list(troubles) == [second]
