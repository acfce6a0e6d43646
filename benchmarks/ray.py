"""Images a second of `sampoll batch` by actors of Ray, beside as many plain processes with shares.

python -m benchmarks.ray [--images 300,2000] [--size 640x480] [--actors 1,2] [--rounds 2] [--json FILE]

The first number of images is for a model of 50 ms an image, the second for one that costs nothing. Each
variant is a command, or several, from its start to its end; the rate at work is that between the first and
the last image of all. Results of all variants are compared byte by byte, but for the times in records.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measuring import in_turns, markdown, write_json
from benchmarks.pipeline import write_pairs

MODELS = ("slow", "free")
MILLISECOND = 1e-3
"""What times in reports are rounded to."""


class Variants:
    """Runs commands over one tree; `rates` are those at work, by the name of the variant."""

    def __init__(self, directory: Path, model: str, images: int, size: tuple[int, int]) -> None:
        self._directory = directory
        self._model = model
        self._images = images
        self._expected: dict[str, Any] = {}
        self._source = directory / "in"
        write_pairs(self._source, ".json", count=images, width=size[0], height=size[1])
        self.rates: dict[str, list[float]] = {}

    def run(self, name: str, *flags: Sequence[str]) -> float:
        """Seconds of as many commands at once as there are flags."""
        output = self._directory / "out"
        shutil.rmtree(output, ignore_errors=True)
        reports = [self._directory / f"report{number}.jsonl" for number in range(len(flags))]
        for report in reports:
            report.unlink(missing_ok=True)
        common: list[str | Path] = [sys.executable, "-m", "sampoll", "batch", self._source, "-o", output]
        common += ["--model", f"benchmarks.batch:{self._model}"]
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "SAMPOLL_LOG_LEVEL": "warning"}
        begun = time.perf_counter()
        processes = [
            subprocess.Popen([*common, "--report", report, *own], env=environment, stderr=subprocess.DEVNULL)
            for report, own in zip(reports, flags, strict=True)
        ]
        codes = [process.wait() for process in processes]
        taken = time.perf_counter() - begun
        assert codes == [0] * len(flags), codes
        times = sorted(_ended(line) for report in reports for line in report.open())
        assert len(times) == self._images
        self.rates.setdefault(name, []).append((len(times) - 1) / max(times[-1] - times[0], MILLISECOND))
        self._compare(output)
        return taken

    def _compare(self, output: Path) -> None:
        found = {path.name: _lasting(path) for path in output.iterdir() if path.is_file()}
        self._expected = self._expected or found
        assert found == self._expected


def _ended(line: str) -> float:
    return datetime.fromisoformat(json.loads(line)["at"]).timestamp()


def _lasting(path: Path) -> Any:
    if path.suffix != ".json":
        return path.read_bytes()
    record = json.loads(path.read_bytes())
    del record["timestamp"], record["meta"]["seconds"]
    return record


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray", description=__doc__)
    parser.add_argument(
        "--images", default="300,2000", help="of the slow model, and of the free one; 0 leaves it out"
    )
    parser.add_argument("--size", default="640x480", help="WIDTHxHEIGHT in pixels")
    parser.add_argument("--actors", default="1,2")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args(arguments)
    width, height = map(int, given.size.split("x"))
    counts = [int(number) for number in given.actors.split(",")]
    rows: list[tuple[object, ...]] = []
    seconds: dict[str, Any] = {}
    for model, images in zip(MODELS, map(int, given.images.split(",")), strict=True):
        if not images:
            continue
        with tempfile.TemporaryDirectory() as directory:
            runs = Variants(Path(directory), model, images, (width, height))
            variants: dict[str, Callable[[], float]] = {}
            for count in counts:
                shares = [("--shard", f"{number}/{count}") for number in range(count)]
                name, other = f"{count} processes", f"{count} actors"
                variants[name] = partial(runs.run, name, *shares)
                variants[other] = partial(runs.run, other, ("--ray-actors", str(count)))
            for name, sample in in_turns(variants, given.rounds).items():
                low, high = sample.range
                work = sorted(runs.rates[name])
                rows.append((model, images, name, f"{low:.1f}..{high:.1f}", f"{work[0]:.1f}..{work[-1]:.1f}"))
                seconds[f"{model}, {name}"] = sample.seconds
    print(markdown(("model", "images", "", "seconds in all", "images/s at work"), rows))
    write_json(given.json, {"seconds": seconds})


if __name__ == "__main__":
    main()
