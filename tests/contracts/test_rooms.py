"""The rooms of the package, and the contracts in pyproject.toml that keep them apart."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.process import REPOSITORY, TESTS

import sampoll

PACKAGE = Path(sampoll.__file__).parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
CONTRACTS = [contract["name"] for contract in PROJECT["tool"]["importlinter"]["contracts"]]

# One for each contract, in their order: a module, and what it must not import.
VIOLATIONS = [
    ("config/fields.py", "import sampoll.spool.state"),
    ("core/names.py", "import orjson"),
    ("spool/claims.py", "import numpy"),
    ("formats/png.py", "import pathlib"),
    ("spool/scan.py", "import time"),
    ("engine/render.py", "import torch"),
    ("monitoring/console.py", "import redis"),
    ("transports/memory.py", "import watchdog.observers"),
    ("transports/memory.py", "import obstore"),
    ("app/demo.py", "import ray"),
    ("app/demo.py", "import argparse"),
    ("models/grabcut/segmenter.py", "import sampoll.models.sam.network"),
    ("transports/memory.py", "import sampoll.transports.redis.messages"),
    ("core/names.py", "import sampoll.core.errors"),
]


def verdicts(tmp_path: Path, *violations: tuple[str, str]) -> dict[str, str]:
    """KEPT or BROKEN for each contract, in a copy of the package with these violations."""
    shutil.copytree(PACKAGE, tmp_path / "sampoll", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    for module, line in violations:
        path = tmp_path / "sampoll" / module
        path.write_text(f"{path.read_text()}\n{line}\n")
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as run; run()",
            "--no-cache",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    plain = re.sub(r"\x1b\[[0-9;]*m", "", run.stdout)
    return dict(re.findall(r"^(.+) (KEPT|BROKEN)\b", plain, re.MULTILINE))


FAMILIES = "Families of models do not import each other"


def test_what_families_share_imports_no_family(tmp_path: Path) -> None:
    violation = ("models/shared/weights.py", "import sampoll.models.sam.network")
    assert verdicts(tmp_path, violation)[FAMILIES] == "BROKEN"


def test_the_package_holds_rooms_and_nothing_else() -> None:
    names = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    rooms = {name for name in names if (PACKAGE / name / "__init__.py").is_file()}

    # An installed package has the examples too.
    assert names - rooms - {"configs"} == {"__init__.py", "__main__.py", "py.typed"}
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    assert rooms == {room for layer in layers for room in layer.split(" | ")}


def test_unit_tests_mirror_the_rooms() -> None:
    for path in (TESTS / "unit").rglob("test_*.py"):
        assert (PACKAGE / path.parent.relative_to(TESTS / "unit")).is_dir(), path


def test_each_contract_is_kept(tmp_path: Path) -> None:
    assert verdicts(tmp_path) == dict.fromkeys(CONTRACTS, "KEPT")


def test_each_contract_notices_a_violation(tmp_path: Path) -> None:
    assert verdicts(tmp_path, *VIOLATIONS) == dict.fromkeys(CONTRACTS, "BROKEN")


@pytest.mark.parametrize(
    "violation",
    [
        ("files/space.py", "from sampoll import run_transport"),  # through the package's own names
        (
            "spool/layout.py",
            "def later() -> None:\n    import sampoll.engine.pipeline",
        ),  # beside it, and late
    ],
)
def test_a_room_imports_no_room_above_or_beside_it_in_any_way(
    tmp_path: Path, violation: tuple[str, str]
) -> None:
    assert verdicts(tmp_path, violation)[CONTRACTS[0]] == "BROKEN"
