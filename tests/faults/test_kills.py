"""kill -9 at every system call that changes a file, also inside the recovery from the one before.

A point is a system call and how often a thread made it before. CI tries a fixed sample of the points; the
whole campaign is `pytest -m campaign`.
"""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.folders import Folders
from support.killing import Point, killed_at, points_of
from support.oracle import BAD, GOOD, TWO, Dropped
from support.process import SAMPOLL, sampoll

DURABILITIES = ("batch", "file", "off")
SAMPLE = 3
SEED = 7
DEFAULT = "default.json"
"""The prompt of an image that has none, beside the input."""


def fill(folders: Folders) -> Dropped:
    (folders.input.parent / DEFAULT).write_text(json.dumps(GOOD))
    dropped = Dropped(folders)
    dropped.image("alone")
    dropped.pair("one", GOOD)
    dropped.pair("two", TWO)
    dropped.pair("bad", BAD, must_fail=True)
    return dropped


def flags(folders: Folders, durability: str) -> list[str]:
    values = ("-i", folders.input, "-o", folders.output, "--settle", 0, "--model", "support.fakes:boxes")
    default = str(folders.input.parent / DEFAULT)
    return ["run", *map(str, values), "--durability", durability, "--default-prompt", default]


def command(folders: Folders, durability: str) -> list[str]:
    return [str(SAMPOLL), *flags(folders, durability)]


def fresh(parent: Path) -> Iterator[Folders]:
    """One empty input after the other."""
    number = 0
    while True:
        folders = Folders(parent / str(number) / "in", parent / str(number) / "out")
        folders.input.mkdir(parents=True)
        yield folders
        shutil.rmtree(folders.input.parent)
        number += 1


def assert_kills_cost_nothing(strace: str, folders: Folders, durability: str, points: list[Point]) -> None:
    """Kills one run after the other, at one point each; then lets one run finish."""
    dropped = fill(folders)
    for point in points:
        killed_at(strace, command(folders, durability), point)
        dropped.assert_nothing_is_lost_or_torn()
    last = sampoll(*flags(folders, durability))
    assert last.returncode in (0, 1), last.stderr
    dropped.assert_everything_ended_once()


@pytest.mark.slow
@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_kill_at_a_sample_of_points_loses_nothing_and_repeats_nothing(
    strace: str, tmp_path: Path, durability: str
) -> None:
    inputs = fresh(tmp_path)
    folders = next(inputs)
    fill(folders)
    points = points_of(strace, command(folders, durability), tmp_path / "strace.log")
    assert len(points) > 20
    chosen = random.Random(f"{SEED}{durability}")

    for _ in range(SAMPLE):
        # The second one hits the recovery from the first.
        assert_kills_cost_nothing(strace, next(inputs), durability, chosen.sample(points, 2))


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_kill_at_every_point_loses_nothing_and_repeats_nothing(
    strace: str, tmp_path: Path, durability: str
) -> None:
    inputs = fresh(tmp_path)
    folders = next(inputs)
    fill(folders)
    points = points_of(strace, command(folders, durability), tmp_path / "strace.log")
    chosen = random.Random(SEED)

    for point in points:
        assert_kills_cost_nothing(strace, next(inputs), durability, [point])
        assert_kills_cost_nothing(strace, next(inputs), durability, [point, chosen.choice(points)])
    print(f"{durability}: {len(points)} points, each alone and with a second kill in the recovery")  # noqa: T201
