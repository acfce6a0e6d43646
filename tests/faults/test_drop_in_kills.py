"""kill -9 of sam_predict_poll, which moves inputs to the output and replaces files of the same names."""

import json
import random
import sys
from pathlib import Path

import pytest
from support.folders import Folders, names_in
from support.images import encoded, image_of, read_mask
from support.killing import Point, killed_at, points_of, traced
from support.process import TESTS

BOX = {"box": {"x0": 4, "y0": 4, "x1": 20, "y1": 16}}
SAMPLE = 3
SEED = 7


def command(folders: Folders, *flags: str) -> list[str]:
    places = ("--prediction_in", str(folders.input), "--prediction_out", str(folders.output))
    return [
        sys.executable,
        str(TESTS / "support" / "poll_boxes.py"),
        "--model",
        str(TESTS / "support" / "poll_boxes.py"),
        *places,
        *flags,
    ]


def fill(folders: Folders) -> dict[str, bytes]:
    """Two pairs and one that fails; earlier results and inputs of the same names lie in the output."""
    folders.output.mkdir()
    contents = {}
    for seed, (name, prompt) in enumerate({"one": BOX, "two": BOX, "bad": {"points": "none"}}.items()):
        contents[f"{name}.jpg"] = encoded(image_of(seed=seed), "JPEG")
        contents[f"{name}.prompt"] = json.dumps(prompt).encode() + b" " * seed
    for name, content in contents.items():
        (folders.input / name).write_bytes(content)
    for name in ("one.jpg", "one.prompt", "one.png", "one.json"):
        (folders.output / name).write_text("from an earlier day")
    return contents


def everything(folders: Folders) -> set[bytes]:
    return {
        p.read_bytes() for root in (folders.input, folders.output) for p in root.rglob("*") if p.is_file()
    }


def assert_kills_cost_nothing(
    strace: str, folders: Folders, points: list[Point], flags: tuple[str, ...]
) -> None:
    contents = fill(folders)
    needed = {name: c for name, c in contents.items() if not flags or not name.endswith(".jpg")}
    for point in points:
        killed_at(strace, command(folders, *flags), point)
        lost = [name for name, content in needed.items() if content not in everything(folders)]
        assert lost == []
    assert traced(strace, command(folders, *flags), "-o", "/dev/null") in (0, 1)

    kept = () if flags else ("one.jpg", "two.jpg")
    earlier = ("one.jpg",) if flags else ()  # what is deleted leaves what had its name
    names = [f"{name}{suffix}" for name in ("one", "two") for suffix in (".json", ".png", ".prompt")]
    assert names_in(folders.output) == sorted([*names, *kept, *earlier])
    assert names_in(folders.input) == ["failed"]
    assert names_in(folders.input / "failed") == ["bad.error.json", "bad.jpg", "bad.prompt"]
    for name in ("one", "two"):
        assert read_mask(folders.output / f"{name}.png").sum() == 16 * 12
        assert json.loads((folders.output / f"{name}.json").read_text())["id"] == name
        assert (folders.output / f"{name}.prompt").read_bytes() == contents[f"{name}.prompt"]
    for name in kept:
        assert (folders.output / name).read_bytes() == contents[name]


def some_folders(root: Path) -> Folders:
    folders = Folders(root / "in", root / "out")
    folders.input.mkdir(parents=True)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--delete_input",)])
def test_a_kill_at_a_sample_of_points_loses_nothing_and_repeats_nothing(
    strace: str, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    folders = some_folders(tmp_path / "undisturbed")
    fill(folders)
    points = points_of(strace, command(folders, *flags), tmp_path / "strace.log")
    assert len(points) > 20
    chosen = random.Random(f"{SEED}{flags}")

    for number in range(SAMPLE):
        # The second one hits the recovery from the first.
        folders = some_folders(tmp_path / str(number))
        assert_kills_cost_nothing(strace, folders, chosen.sample(points, 2), flags)


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("flags", [(), ("--delete_input",)])
def test_a_kill_at_every_point_loses_nothing_and_repeats_nothing(
    strace: str, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    folders = some_folders(tmp_path / "undisturbed")
    fill(folders)
    points = points_of(strace, command(folders, *flags), tmp_path / "strace.log")
    chosen = random.Random(SEED)

    for number, point in enumerate(points):
        two = [point, chosen.choice(points)]
        assert_kills_cost_nothing(strace, some_folders(tmp_path / f"{number}"), two, flags)
    print(f"{flags}: {len(points)} points, each with a second kill in the recovery")  # noqa: T201
