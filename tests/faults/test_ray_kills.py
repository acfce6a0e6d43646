"""Batches by actors of Ray: a node, and the driver, are killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.batches import batch
from support.folders import drop_pair, files_below
from support.images import image_of
from support.process import environment, is_running, running_sampoll, until
from support.ray_running import actors_of, descendants

IMAGES = 120
SLOW = ("--model", "support.fakes:slow", "--batch-size", 1)
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "disabled",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "photographs"
    directory.mkdir()
    for number in range(IMAGES):
        drop_pair(directory, f"p{number:03}", image=image_of(seed=number % 50))
    return directory


def records(output: Path) -> int:
    return sum(name.endswith(".json") for name in files_below(output)) if output.exists() else 0


@contextmanager
def cluster(tmp_path: Path) -> Iterator[tuple[str, int, int]]:
    """A cluster of two nodes, on which one actor each has room; its address, and those of its nodes."""
    code = """
import sys
from ray.cluster_utils import Cluster
nodes = Cluster(initialize_head=True, head_node_args=dict(num_cpus=1, include_dashboard=False))
other = nodes.add_node(num_cpus=1)
raylets = [[p.process.pid for p in node.all_processes["raylet"]][0] for node in (nodes.head_node, other)]
print(nodes.address, *raylets, flush=True)
sys.stdin.read()
nodes.shutdown()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment(ENVIRONMENT),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        yield words[0], int(words[1]), int(words[2])
        process.communicate(timeout=60)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_the_images_of_a_node_that_is_killed_are_done_by_the_others(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "masks"
    with cluster(tmp_path) as (address, head, other), (tmp_path / "log").open("wb") as log:
        flags = ("-o", output, *SLOW, "--ray-actors", 2, "--ray-address", address)
        with running_sampoll("batch", source, *flags, log=log, env=ENVIRONMENT) as process:
            until(lambda: records(output) > 30, "results", 120)
            actors = [pid for raylet in (head, other) for pid in actors_of(raylet)]
            os.kill(other, signal.SIGKILL)
            done = records(output)
            exit_code = process.wait(400)

    said = (tmp_path / "log").read_text()
    sys.stdout.write(f"killed after {done} with {len(actors)} actors: {said.splitlines()[-1]}\n")
    assert exit_code == 0, said
    assert records(output) == IMAGES


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_a_driver_that_is_killed_leaves_no_process_and_the_next_one_does_the_rest(
    source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "masks"
    with (tmp_path / "log").open("wb") as log:
        flags = ("-o", output, *SLOW, "--ray-actors", 2)
        with running_sampoll("batch", source, *flags, log=log) as process:
            until(lambda: records(output) > 30, "results", 120)
            of_ray, actors = descendants(process.pid), actors_of(process.pid)
            process.kill()
            process.wait()
    until(lambda: not any(map(is_running, actors)), "the actors end", 20)
    done = records(output)

    again = batch(source, output, model="support.fakes:slow", batch_size=1)

    sys.stdout.write(f"killed after {done}: {again.line}\n")
    assert again.exit_code == 0
    assert len(again.done) == IMAGES - done
    assert actors
    # The agents of Ray look for its control server for a minute.
    until(lambda: not any(map(is_running, of_ray)), "no process of Ray is left", 150)
    assert records(output) == IMAGES
