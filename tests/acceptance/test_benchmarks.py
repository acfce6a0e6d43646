"""The benchmarks run, and print what they promise; what they print is for people to judge."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.process import REPOSITORY

pytestmark = pytest.mark.slow


def benchmark(module: str, *arguments: object, json_file: Path) -> tuple[str, dict[str, object]]:
    run = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments), "--json", json_file],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout, json.loads(json_file.read_text())


def test_the_pipeline_is_measured_beside_the_reference(tmp_path: Path) -> None:
    table, document = benchmark("pipeline", "--pairs", 20, "--rounds", 1, json_file=tmp_path / "figures.json")
    assert "| reference loop |" in table
    assert "| --durability batch |" in table
    assert document["pairs"] == 20
    assert "cores" in document["machine"]  # type: ignore[operator]


@pytest.mark.campaign
def test_each_step_is_measured_beside_the_usual_way(tmp_path: Path) -> None:
    table, document = benchmark("files", "--rounds", 1, json_file=tmp_path / "figures.json")
    assert "| 12 megapixels | contours, blobs | skimage " in table
    assert len(document["seconds"]) == 16  # type: ignore[arg-type]


@pytest.mark.campaign
def test_requests_are_measured_beside_the_loop(tmp_path: Path) -> None:
    sizes = ("--clients", "1,2", "--requests", 4, "--rounds", 1, "--size", "64x48")
    table, document = benchmark("requests", *sizes, json_file=tmp_path / "figures.json")
    assert table.count("| loop |") == table.count("| sampoll |") == 4
    assert len(document) == 1 + 8  # the machine, and the figures


@pytest.mark.campaign
def test_requests_over_http_are_measured_beside_a_loop_and_redis(tmp_path: Path) -> None:
    sizes = ("--clients", "1,2", "--requests", 4, "--rounds", 1, "--size", "64x48")
    table, document = benchmark("http", *sizes, json_file=tmp_path / "figures.json")
    assert (
        table.count("| loop |") == table.count("| sampoll, Redis |") == table.count("| sampoll, HTTP |") == 4
    )
    assert table.count("| sampoll, HTTP, digest |") == 2
    assert len(document) == 1 + 14


def test_the_python_api_is_measured_beside_loops(tmp_path: Path) -> None:
    sizes = ("--model", "small", "--images", 1, "--prompts", 2, "--rounds", 1)
    table, document = benchmark("python", *sizes, json_file=tmp_path / "figures.json")
    assert table.count("| SamPredictor |") == 4
    assert table.count("| sampoll, auto |") == 4
    assert set(document["seconds"]) == {"images", "images, one by one", "prompts", "clicks"}  # type: ignore[call-overload]


def test_several_processes_are_measured_beside_one_for_each_way_to_start_them(tmp_path: Path) -> None:
    sizes = ("--workers", "1,2", "--jobs", 8, "--rounds", 1, "--models", "slow")
    table, document = benchmark("workers", *sizes, json_file=tmp_path / "figures.json")
    for way in ("serve stream x {}", "run --workers {}", "run x {}, one tree", "batch --shard x {}"):
        assert all(f"| 50 ms | {way.format(count)} |" in table for count in (1, 2))
    assert document["jobs"] == 8


def test_batches_are_measured_beside_a_loop_over_the_same_bucket(tmp_path: Path) -> None:
    sizes = ("--images", 6, "--size", "64x48", "--latency", "0,1", "--rounds", 1)
    table, document = benchmark("batch", *sizes, json_file=tmp_path / "figures.json")
    assert table.count("| loop |") == table.count("| sampoll batch |") == 4
    assert len(document["seconds"]) == 8  # type: ignore[arg-type]


def test_memory_is_measured_beside_the_loop(tmp_path: Path) -> None:
    sizes = ("--models", "free", "--megapixels", "1", "--threads", "1,2", "--seconds", 3)
    table, document = benchmark("memory", *sizes, json_file=tmp_path / "figures.json")
    assert table.count("| free | ") == 1
    assert [case["threads"] for case in document["peaks"]] == [0, 1, 2]  # type: ignore[attr-defined]


def test_ratios_are_drawn_as_bars() -> None:
    bars = runpy.run_path(str(REPOSITORY / "benchmarks" / "plots.py"))["bars"]
    svg = bars("times <as> fast", {"loop": 1.0, "ours & theirs": 4.0}, "x")
    root = ElementTree.fromstring(svg)
    first, second = (float(bar.attrib["width"]) for bar in root.iter("{http://www.w3.org/2000/svg}rect"))
    assert second == pytest.approx(4 * first, rel=0.01)
    assert "4 x" in "".join(root.itertext())


@pytest.mark.campaign
def test_the_parts_of_a_run_on_a_device_are_measured_on_the_cpu_too(tmp_path: Path) -> None:
    sizes = ("--device", "cpu", "--models", "edgetam", "--rounds", 1)
    parts = ("--parts", "prompts,files,memory", "--prompts", 2, "--batch", 1, "--workers", 1)
    table, document = benchmark("gpu", *sizes, *parts, json_file=tmp_path / "figures.json")
    assert "| 1 x 2, 64 at once |" in table
    assert "| 2, as it is |" in table
    assert "| render, 1 processes |" in table
    assert set(document["edgetam"]) == {"prompts", "files", "memory"}  # type: ignore[call-overload]


def test_what_a_bucket_would_cost_is_documented_as_it_is_computed() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.how_big"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    table = run.stdout.partition("\n\n")[2]
    assert table.strip() in (REPOSITORY / "docs" / "how-big.md").read_text()


def test_without_a_device_the_benchmark_for_cuda_says_so() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"],
        cwd=REPOSITORY,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (run.returncode, "there is no CUDA device" in run.stderr) == (2, True)


@pytest.mark.campaign
def test_actors_of_ray_are_measured_beside_as_many_processes(tmp_path: Path) -> None:
    sizes = ("--images", "0,8", "--actors", 1, "--rounds", 1, "--size", "64x48")
    table, document = benchmark("ray", *sizes, json_file=tmp_path / "figures.json")
    assert table.count("| 1 processes |") == table.count("| 1 actors |") == 1
    assert set(document["seconds"]) == {"free, 1 processes", "free, 1 actors"}  # type: ignore[call-overload]
