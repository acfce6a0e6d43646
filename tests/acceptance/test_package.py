"""The wheel and the sdist: what they contain, and that an installed wheel works from an empty directory."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from conftest import needed
from support.process import REPOSITORY, SOURCE_TREE, environment


def ran(*command: object, cwd: Path, **variables: str) -> str:
    """The standard output of a command that succeeds."""
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=240,
        cwd=cwd,
        env={**environment(), **variables},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def versioned_files() -> list[str]:
    """The paths of the files of this project, new ones included."""
    listed = ran("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY).splitlines()
    return sorted(path for path in set(listed) if place_of(path).exists())


def place_of(path: str) -> Path:
    folder, _, rest = path.partition("/")
    return SOURCE_TREE / rest if folder == "sampoll" else REPOSITORY / path


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the sdist unpacks to."""
    needed((REPOSITORY / ".git").exists(), "a checkout of git")
    needed(importlib.util.find_spec("hatchling") is not None, "hatchling (pip install '.[dev]')")
    copy, built = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("sdist")
    for path in versioned_files():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(place_of(path), copy / path)
    build(copy, "sdist", built)
    [archive] = built.glob("*.tar.gz")
    shutil.unpack_archive(archive, built)
    [unpacked] = (path for path in built.iterdir() if path.is_dir())
    return unpacked


def build(source: Path, target: str, into: Path) -> None:
    # Of hatchling alone, so that nothing is downloaded; its own path, because `environment` sets PYTHONPATH.
    paths = os.pathsep.join(path for path in sys.path if path)
    ran(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", into, cwd=source, PYTHONPATH=paths)


@pytest.fixture(scope="module")
def installed(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a virtual environment that has only the wheel; libraries are those of the tests."""
    built, place = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    build(sdist, "wheel", built)
    [wheel] = built.glob("*.whl")
    venv.create(place, with_pip=False)
    pip = (sys.executable, "-m", "pip", "--python", place / "bin" / "python")
    ran(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=built)
    [packages] = place.glob("lib/python*/site-packages")
    libraries = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "libraries.pth").write_text("".join(f"{path}\n" for path in libraries))
    return place / "bin"


def test_the_sdist_contains_every_file_of_the_project(sdist: Path) -> None:
    packed = {path.relative_to(sdist).as_posix() for path in sdist.rglob("*") if path.is_file()}

    assert packed - {"PKG-INFO"} == set(versioned_files())


def test_a_wheel_from_the_sdist_works_from_an_empty_directory(installed: Path, tmp_path: Path) -> None:
    sampoll = installed / "sampoll"

    where = ran(installed / "python", "-c", "import sampoll; print(sampoll.__file__)", cwd=tmp_path)
    ran(sampoll, "demo", "demo", cwd=tmp_path)
    done = ran(sampoll, "run", "demo/in", "demo/out", "--model", "grabcut", cwd=tmp_path)
    ran(sampoll, "report", "demo/out", cwd=tmp_path)

    assert Path(where).is_relative_to(installed.parent)
    assert " done, 0 failed" in done
    assert len(list((tmp_path / "demo" / "out").rglob("*.html"))) >= 1
    records = [path for path in (tmp_path / "demo" / "out").glob("*.json") if not path.name.startswith(".")]
    assert all(json.loads(path.read_text())["objects"] for path in records)


def test_the_examples_are_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    shown = Path(ran(installed / "sampoll", "init", "--examples", cwd=tmp_path).rstrip("\n"))

    assert shown.is_relative_to(installed.parent)
    for example in (path for path in versioned_files() if path.startswith("configs/")):
        there = shown / example.removeprefix("configs/")
        assert there.read_bytes() == (REPOSITORY / example).read_bytes()


def test_the_unit_that_a_wheel_writes_runs_that_wheel(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()

    ran(installed / "sampoll", "init", "--systemd", "-i", "in", "-o", "out", "--user", "daemon", cwd=tmp_path)

    unit = (tmp_path / "sampoll.service").read_text()
    assert f"\nExecStart={installed / 'sampoll'} run --input {tmp_path / 'in'} " in unit
