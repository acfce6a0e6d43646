"""How long `sampoll run` with one image takes besides the encoder's own time, and its memory, by torch and by
OpenVINO in turns; and the decoding of prompts, by both in turns.

    python -m benchmarks.start [--model vit_b] [--rounds 5] [--json FILE]

Weights are random, so masks are noise, whose outlines take longer than those of objects. What OpenVINO needs
is converted and compiled before, and so are the modules of Python, as pip does it: the figures are those of
every run but the first two.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import Sample, in_turns, markdown, write_json
from benchmarks.models import random_weights
from benchmarks.pipeline import HEIGHT, WIDTH, photograph, write_pairs
from sampoll.config.settings.model import ModelSettings
from sampoll.core.jobs import Box, Prompt
from sampoll.inputs.decode import decode_image
from sampoll.models.registry import find_factory

ALONE = Path(__file__).with_name("alone.py")
ENGINES = ("torch", "openvino")
PROMPTS = (1, 8, 32)
SETTLED_SECONDS = 11.0
"""After so long, the digest of a checkpoint is remembered."""


@dataclass(frozen=True)
class Run:
    """One `sampoll run`: seconds in all and in the encoder, and the largest memory of the process."""

    seconds: float
    encoder_seconds: float
    peak_gib: float

    @property
    def besides_encoder(self) -> float:
        return self.seconds - self.encoder_seconds


class Runs:
    """Runs of the command with one checkpoint, each on a new folder with one image."""

    def __init__(self, root: Path, options: ModelSettings) -> None:
        self._root, self._options = root, options
        # Compiled modules are kept in the scratch directory, also where this environment keeps none.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._environment = {**kept, "PYTHONPYCACHEPREFIX": str(root.parent / "modules")}
        self.done: dict[str, list[Run]] = {engine: [] for engine in ENGINES}

    def run(self, engine: str) -> float:
        """The seconds besides the encoder's of one more run."""
        number = sum(map(len, self.done.values()))
        folder = self._root / f"{engine}{number}"
        write_pairs(folder / "in", ".json", count=1, width=WIDTH, height=HEIGHT)
        flags: Sequence[object] = (
            *("-i", folder / "in", "-o", folder / "out", "--settle", "0", "--engine", engine),
            *("--model", self._options.model, "--checkpoint", self._options.checkpoint),
            *("--home", self._options.home),
        )
        command = [sys.executable, "-m", "sampoll", "run", *map(str, flags)]
        alone = subprocess.run(
            [sys.executable, ALONE, *command], capture_output=True, check=True, env=self._environment
        )
        seconds, peak_kib, exit_code = json.loads(alone.stdout)
        if exit_code != 0:
            sys.exit(f"sampoll run with --engine {engine} ended with {exit_code}")
        [record] = (folder / "out").glob("*.json")
        encoder = json.loads(json.loads(record.read_text())["meta"]["seconds"])["embedding"]
        made = Run(seconds, encoder, peak_kib / 2**20)
        self.done[engine].append(made)
        return made.besides_encoder


def starting(
    root: Path, options: ModelSettings, rounds: int
) -> tuple[dict[str, Sample], dict[str, list[Run]]]:
    """Seconds besides the encoder's by engine, and all runs."""
    warm = Runs(root / "warm", options)
    for _ in range(2):  # the first converts, the second keeps what it compiles
        warm.run("openvino")
    runs = Runs(root / "measured", options)
    return in_turns({engine: partial(runs.run, engine) for engine in ENGINES}, rounds), runs.done


def decoding(options: ModelSettings, rounds: int) -> dict[str, dict[str, Sample]]:
    """Seconds from an embedding and so many boxes to masks, by their number and the engine."""
    models: dict[str, Any] = {
        engine: find_factory(options)(options.model_copy(update={"engine": engine})) for engine in ENGINES
    }
    [embedding] = models["openvino"].embed([decode_image(photograph(WIDTH, HEIGHT), "photograph.jpg", 10**9)])
    arrays = models["openvino"].packed(embedding)
    found = {}
    for count in PROMPTS:
        boxes = [Prompt(box=Box(10.0 * n, 10.0 * n, 10.0 * n + 400, 10.0 * n + 300)) for n in range(count)]
        acts = {
            engine: partial(model.decode, [(model.unpacked(arrays), boxes)])
            for engine, model in models.items()
        }
        for act in acts.values():
            act()
        timed = {engine: partial(seconds_of, act) for engine, act in acts.items()}
        found[f"{count} boxes"] = in_turns(timed, rounds)
    return found


def seconds_of(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def row(name: str, engine: str, sample: Sample, reference: Sample, *more: str) -> list[str]:
    low, high = sample.range
    ratio = reference.median / sample.median
    return [name, engine, f"{sample.median:.2f}", f"{low:.2f} to {high:.2f}", f"{ratio:.1f}", *more]


def tables(started: Mapping[str, Sample], runs: Mapping[str, Sequence[Run]], decoded: Any) -> str:
    header = ["", "engine", "seconds", "range", "times as fast"]
    rows = []
    for engine, sample in started.items():
        peaks = sorted(run.peak_gib for run in runs[engine])
        peak = f"{peaks[len(peaks) // 2]:.2f} ({peaks[0]:.2f} to {peaks[-1]:.2f})"
        rows.append(row("one image, without its encoder", engine, sample, started["torch"], peak))
    starts = markdown([*header, "peak GiB"], rows)
    rows = [
        row(name, engine, sample, samples["torch"])
        for name, samples in decoded.items()
        for engine, sample in samples.items()
    ]
    return f"{starts}\n\n{markdown(header, rows)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--model", default="vit_b")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory(prefix="sampoll-benchmark-") as scratch:
        root = Path(scratch)
        checkpoint = root / "checkpoint.pth"
        torch.save(random_weights(given.model), checkpoint)
        options = ModelSettings(
            model=given.model, checkpoint=checkpoint, home=root / "home", device="cpu", prompt_batch=4
        )
        time.sleep(SETTLED_SECONDS)
        started, runs = starting(root, options, given.rounds)
        decoded = decoding(options, given.rounds)
    print(f"{given.model}, {WIDTH}x{HEIGHT}, {given.rounds} rounds\n\n{tables(started, runs, decoded)}")
    write_json(
        given.json,
        {
            "model": given.model,
            "besides_encoder_seconds": {name: list(sample.seconds) for name, sample in started.items()},
            "encoder_seconds": {name: [run.encoder_seconds for run in done] for name, done in runs.items()},
            "peak_gib": {name: [run.peak_gib for run in done] for name, done in runs.items()},
            "decoder_seconds": {
                name: {engine: list(sample.seconds) for engine, sample in samples.items()}
                for name, samples in decoded.items()
            },
        },
    )


if __name__ == "__main__":
    main()
