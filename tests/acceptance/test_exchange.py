"""Data sets between sampoll and other tools, in both directions: those of the development extras are tried;
`python -m benchmarks.exchange` tries every tool that is installed."""

import json
import subprocess
import sys
from typing import Any

import pytest
from support.process import REPOSITORY

pytestmark = pytest.mark.slow

Rows = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rows]:
    path = tmp_path_factory.mktemp("exchange") / "figures.json"
    tools = ("--tools", "pycocotools,globox,supervision", "--images", "3", "--json", path)
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.exchange", *map(str, tools)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(path.read_text())
    assert [row for rows in found.values() for row in rows if "error" in row] == []
    return {key: {(row["tool"], row["format"]): row for row in rows} for key, rows in found.items()}


def test_other_tools_read_every_object_with_its_label(figures: dict[str, Rows]) -> None:
    by_part = ("globox", "LabelMe")  # it knows no groups

    for way, row in figures["read"].items():
        assert way == by_part or (row["found"], row["matched"]) == (row["expected"], row["expected"]), way


def test_other_tools_lose_no_pixel_and_add_only_holes_and_cuts(figures: dict[str, Rows]) -> None:
    for (tool, format), row in figures["read"].items():
        added, in_holes = row["pixels_added"], row["hole_pixels_added"]
        assert row["pixels_lost"] == 0, (tool, format)
        if format in ("COCO", "LabelMe"):
            assert added == 0, (tool, format)
        elif tool == "pycocotools":  # polygons of COCO have no holes
            assert added == in_holes > 0


def test_what_other_tools_write_is_imported(figures: dict[str, Rows]) -> None:
    for format in ("COCO", "YOLO", "LabelMe"):
        row = figures["written"][("globox", format)]
        assert (row["found"], row["matched"]) == (row["expected"], row["expected"]), format
        assert row["box_pixels"] < 0.01, format
        # It writes the parts of an object apart, or as a crowd.
        assert figures["written"][("supervision", format)]["matched"] > 0, format
