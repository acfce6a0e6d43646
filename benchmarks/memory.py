"""Peak memory of `sampoll run`, by image size and --io-threads, beside that of the reference loop.

    python -m benchmarks.memory [--models free,vit_b] [--megapixels 2,12,150] [--threads 1,4,16]
                                [--seconds 30] [--json FILE]

Each case is a process of its own, whose peak is what the kernel says when it has ended (ru_maxrss). sampoll
has more images than its stages can hold, and is stopped in order after --seconds; the loop does one image
after the other, and gets two. `free` takes no time; `vit_b` has random weights and the default settings, and
both answer with ellipses. The last column is the limit that sampoll states for itself, in its metrics.
"""

import argparse
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import markdown, write_json

# Everything large is imported in functions: a child begins as a copy of this process, and its peak with it.
if TYPE_CHECKING:
    from benchmarks.ellipses import Ellipses, SamWithEllipses
    from sampoll.config.settings.model import ModelSettings

QUEUED_BYTES = 1.5 * 2**30
"""Enough images for this much memory as pixels wait for a run, so that its stages are full."""
LOOP_IMAGES, LOOP_SECONDS = 2, 600.0
INTERRUPTED = 75
"""The exit code of a run that was stopped before its end."""
BUDGET = re.compile(r"^sampoll_memory_budget_bytes\{.*\} (\S+)$", re.MULTILINE)


def free(_: "ModelSettings") -> "Ellipses":
    from benchmarks.ellipses import Ellipses

    return Ellipses()


def vit_b(options: "ModelSettings") -> "SamWithEllipses":
    from benchmarks.ellipses import SamWithEllipses
    from sampoll.models.registry import find_factory

    named = options.model_copy(update={"model": "vit_b"})
    return SamWithEllipses(find_factory(named)(named))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Case:
    """A model, the megapixels of its images, and the threads of sampoll; 0 threads are the loop."""

    model: str
    megapixels: float
    threads: int

    @property
    def size(self) -> tuple[int, int]:
        """(W, H) of an image, with sides as 4 to 3."""
        height = round(math.sqrt(self.megapixels * 1e6 * 3 / 4))
        return int(self.megapixels * 1e6 / height), height

    @property
    def images(self) -> int:
        width, height = self.size
        return max(8, int(QUEUED_BYTES / (3 * width * height))) if self.threads else LOOP_IMAGES


def measured(case: Case, root: Path, seconds: float) -> tuple[float, float]:
    """The peak of a case, and the limit that sampoll states, in bytes; the limit of the loop is 0."""
    source, target, metrics = root / "in", root / "out", root / "metrics.prom"
    suffix = ".json" if case.threads else ".prompt"
    _child("write", source, suffix, case.images, *case.size)
    target.mkdir()
    if case.threads:
        flags = [*_flags_of(case, root), "--io-threads", case.threads, "--metrics-file", metrics]
        peak = _peak(["-m", "sampoll", "run", source, target, *flags, "--settle", 0], seconds)
        budget = sum(float(value) for value in BUDGET.findall(metrics.read_text()))
    else:
        peak, budget = _peak(["-m", "benchmarks.memory", "loop", case.model, source, target]), 0.0
    assert any(target.glob("*.png")), f"{case} has done nothing"
    return peak, budget


def _flags_of(case: Case, root: Path) -> list[Any]:
    weights = root.parent / "vit_b.pth"
    model = ["--model", f"benchmarks.memory:{case.model}"]
    return (
        model if case.model == "free" else [*model, "--checkpoint", weights, "--home", root.parent / "home"]
    )


def _peak(arguments: Sequence[Any], seconds: float = LOOP_SECONDS) -> float:
    """The most memory that a process had resident, in bytes; it is asked to end after so many seconds."""
    command = [sys.executable, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    timer = Timer(seconds, process.terminate)
    timer.start()
    assert process.stderr is not None
    said = process.stderr.read()
    timer.cancel()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, INTERRUPTED, -signal.SIGTERM):  # it may have been about to end
        sys.exit(said)
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _child(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.memory", *map(str, arguments)], check=True)


def write(directory: Path, prompt_suffix: str, count: int, width: int, height: int) -> None:
    """Pairs of large images: the photograph of the other benchmarks, again and again in each."""
    import io

    import numpy as np
    from PIL import Image

    from benchmarks.pipeline import photograph, write_copies

    part = np.asarray(Image.open(io.BytesIO(photograph(1600, 1200))))
    tiles = np.tile(part, (-(-height // 1200), -(-width // 1600), 1))[:height, :width]
    content = io.BytesIO()
    Image.fromarray(tiles).save(content, "JPEG", quality=90)
    write_copies(directory, prompt_suffix, content.getvalue(), count=count, width=width, height=height)


def prepare(weights: Path, home: Path) -> None:
    """Writes random weights of vit_b, and converts its encoder: a run of a user finds it converted too."""
    import torch

    from benchmarks.models import random_sam
    from sampoll.config.settings.model import ModelSettings

    torch.save(random_sam("vit_b").state_dict(), weights)
    vit_b(ModelSettings(checkpoint=weights, home=home))


def loop(model: str, source: Path, target: Path) -> None:
    from benchmarks.ellipses import ellipse
    from benchmarks.reference import poll_once

    if model == "free":
        poll_once(source, target, lambda image, _: (ellipse((image.shape[0], image.shape[1])), 0.9))
        return
    import torch

    from benchmarks.models import random_sam
    from benchmarks.whole import with_an_ellipse

    poll_once(source, target, with_an_ellipse(random_sam(model), torch.device("cpu")))


def table(peaks: dict[Case, float], budgets: dict[Case, float], threads: Sequence[int]) -> str:
    """GiB, a line for each model and size."""
    rows = []
    for model, megapixels in dict.fromkeys((case.model, case.megapixels) for case in peaks):
        cases = [Case(model, megapixels, count) for count in (0, *threads)]
        figures = [f"{peaks[case] / 2**30:.2f}" for case in cases]
        limit = max(budgets[case] for case in cases)
        rows.append([model, f"{megapixels:g}", *figures, f"{limit / 2**30:.1f}"])
    by_threads = [f"{count} thread{'s' * (count > 1)}" for count in threads]
    return markdown(["peak, GiB", "megapixels", "the loop", *by_threads, "limit"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--models", default="free,vit_b")
    parser.add_argument("--megapixels", default="2,12,150")
    parser.add_argument("--threads", default="1,4,16", help="--io-threads of sampoll")
    parser.add_argument("--seconds", type=float, default=30, help="how long a run of sampoll may go on")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args()
    models, threads = given.models.split(","), [int(count) for count in given.threads.split(",")]
    peaks, budgets = {}, {}
    with tempfile.TemporaryDirectory(prefix="sampoll-benchmark-") as scratch:
        if "vit_b" in models:
            _child("prepare", Path(scratch, "vit_b.pth"), Path(scratch, "home"))
        for model in models:
            for megapixels in map(float, given.megapixels.split(",")):
                for count in (0, *threads):
                    case = Case(model, megapixels, count)
                    with tempfile.TemporaryDirectory(dir=scratch) as root:
                        peaks[case], budgets[case] = measured(case, Path(root), given.seconds)
    print(table(peaks, budgets, threads))
    figures = [
        {**asdict(case), "peak_bytes": peak, "limit_bytes": budgets[case]} for case, peak in peaks.items()
    ]
    write_json(given.json, {"peaks": figures})


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", directory, suffix, *numbers]:
            write(Path(directory), suffix, *map(int, numbers))
        case ["prepare", weights, home]:
            prepare(Path(weights), Path(home))
        case ["loop", model, source, target]:
            loop(model, Path(source), Path(target))
        case _:
            main()
