"""Where Python has no fcntl, as on Windows: all works but the watched folder, which says what is missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.folders import Folders, drop_pair
from support.process import TESTS, environment, sampoll

from sampoll.models.checkpoints import official_checkpoints

EXECUTABLE = "from sampoll.cli.main import main; main()"
EVERY_MODULE = """
import importlib, pkgutil, sampoll
for name in sampoll.__all__:
    getattr(sampoll, name)
for module in pkgutil.walk_packages(sampoll.__path__, "sampoll."):
    if module.name != "sampoll.__main__":
        importlib.import_module(module.name)
"""
PYTEST = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
MISSING = (
    "a watched folder needs file locks (Python's module fcntl), which this system does not have: run sampoll "
    "on Linux, in a container or in WSL"
)


def without_posix(code: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "support.without_posix", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment(),
        cwd=cwd,
        check=False,
    )


@pytest.mark.parametrize("module", ["fcntl", "pwd", "grp", "resource", "termios"])
def test_the_other_system_of_these_tests_lacks_what_only_posix_has(module: str) -> None:
    imported = without_posix(f"import {module}")

    assert f"import of {module} halted" in imported.stderr


def test_sampoll_its_public_names_and_all_its_modules_can_be_imported() -> None:
    imported = without_posix(EVERY_MODULE)

    assert (imported.returncode, imported.stderr) == (0, "")


def test_the_models_and_a_transport_of_ones_own_work() -> None:
    tested = without_posix(
        PYTEST,
        *(
            "-n0",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "[grabcut] or run_transport or (images_size and [sam])",
        ),
        TESTS / "contracts" / "test_segmenters.py",
        TESTS / "unit" / "app" / "test_run_transport.py",
    )

    assert tested.returncode == 0, tested.stdout


def test_checkpoints_are_listed_and_downloaded() -> None:
    listed = without_posix(EXECUTABLE, "models", "list")
    tests = TESTS / "unit" / "models" / "test_download.py"
    downloaded = without_posix(PYTEST, "-n0", "-q", "-p", "no:cacheprovider", "-k", "whole or resumed", tests)

    names = [line.split()[0] for line in listed.stdout.splitlines() if "not here" in line]
    assert sorted(names) == sorted(official_checkpoints())
    assert listed.returncode == 0, listed.stderr
    assert downloaded.returncode == 0, downloaded.stdout


@pytest.mark.parametrize("command", [("run",), ("run", "--continuous"), ("doctor",)])
def test_a_watched_folder_says_in_one_sentence_what_is_missing(
    command: tuple[str, ...], folders: Folders
) -> None:
    drop_pair(folders.input, "a")

    ended = without_posix(EXECUTABLE, *command, *folders.flags, "--model", "grabcut")

    assert ended.returncode == 69
    said = ended.stdout if command == ("doctor",) else ended.stderr
    assert MISSING in said
    assert "Traceback" not in ended.stderr
    assert command == ("doctor",) or ended.stderr.splitlines()[-1] == f"sampoll: {MISSING}"
    assert sorted(path.name for path in folders.input.iterdir()) == ["a.jpg", "a.json"]


def test_the_status_of_a_folder_that_another_machine_watches_is_shown(folders: Folders) -> None:
    drop_pair(folders.input, "a")

    shown = without_posix(EXECUTABLE, "status", "-i", folders.input, "--json")

    assert shown.returncode == 3, shown.stderr
    assert json.loads(shown.stdout)["waiting"]["pairs"] == 1


def test_results_are_exported(folders: Folders) -> None:
    drop_pair(folders.input, "a")
    assert sampoll("run", *folders.flags, "--model", "support.fakes:boxes").returncode == 0

    exported = without_posix(EXECUTABLE, "export", folders.output, "--format", "coco")

    assert exported.returncode == 0, exported.stderr
    assert len(list(folders.output.rglob("instances*.json"))) == 1
