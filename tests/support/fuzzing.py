"""Fuzzing: tries inputs with something wrong in them, and reports what only a bug can cause.

    PYTHONPATH=tests python -m support.fuzzing images --seed 1 --first 17 --count 1

An input is determined by its target, the seed and its index. Inputs are tried in a process of its own, which
may allocate 1 GiB. An input that takes more than 5 s of CPU time, blocks, or makes native code crash ends it,
which is a finding as an error is.
"""

import argparse
import json
import mmap
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random

from support.fuzz_datasets import Tree
from support.fuzz_targets import TARGETS
from support.process import environment

CPU_SECONDS, BLOCKED_SECONDS = 5.0, 60.0
ADDED_BYTES = 2**30
MAX_DEATHS = 20
"""Of one slice of inputs: each costs a new process, and more of them say nothing new."""
SLICE = 20_000


@dataclass(frozen=True)
class Finding:
    """The first input that fails in one way."""

    index: int
    reason: str


@dataclass(frozen=True)
class Figures:
    """What trying inputs of a target has shown. `findings` are by what fails, and where."""

    inputs: int = 0
    seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, 0)  # CPU seconds, index
    largest: tuple[int, int] = (0, 0)  # bytes of memory added, index
    findings: Mapping[str, Finding] = field(default_factory=dict)

    def __add__(self, more: "Figures") -> "Figures":
        return Figures(
            self.inputs + more.inputs,
            self.seconds + more.seconds,
            max(self.slowest, more.slowest),
            max(self.largest, more.largest),
            {**more.findings, **self.findings},
        )


def input_of(target: str, seed: int, index: int) -> Tree:
    return TARGETS[target].inputs(Random(f"{target} {seed} {index}"))


def tried(target: str, seed: int, first: int, count: int) -> Figures:
    """The figures of these inputs; those that end their process included."""
    figures = Figures()
    with tempfile.TemporaryDirectory() as directory:
        scratch, end, deaths = Path(directory), first + count, 0
        while first < end and deaths < MAX_DEATHS:
            command = [sys.executable, "-m", "support.fuzzing", target, "--worker", directory]
            numbers = {"seed": seed, "first": first, "count": end - first}
            flags = [word for key, value in numbers.items() for word in (f"--{key}", str(value))]
            run = subprocess.run(
                [*command, *flags], env=environment(), capture_output=True, text=True, check=False
            )
            if run.returncode == 0:
                return figures + _figures_of(run.stdout)
            if run.returncode > 0:
                raise RuntimeError(f"the worker has failed: {run.stderr}")
            died = int((scratch / "index").read_bytes().rstrip(b"\0") or first)
            reason = f"ended by {signal.Signals(-run.returncode).name}: {run.stderr[-500:]}"
            figures += Figures(inputs=died + 1 - first, findings={f"{reason} {died}": Finding(died, reason)})
            first, deaths = died + 1, deaths + 1
    return figures


def _figures_of(line: str) -> Figures:
    read = json.loads(line)
    findings = {place: Finding(**finding) for place, finding in read["findings"].items()}
    return Figures(read["inputs"], read["seconds"], tuple(read["slowest"]), tuple(read["largest"]), findings)


def campaign(target: str, seed: int, count: int, processes: int) -> Figures:
    """The figures of the first `count` inputs, tried in slices by so many processes at a time."""
    slices = [(first, min(SLICE, count - first)) for first in range(0, count, SLICE)]
    with ThreadPoolExecutor(processes) as pool:
        done = pool.map(lambda part: tried(target, seed, *part), slices)
        return sum(done, Figures())


def kept(target: str, seed: int, figures: Figures, directory: Path) -> str:
    """The findings as text, once the inputs that cause them are in files of `directory`."""
    lines = []
    for finding in figures.findings.values():
        folder = directory / f"{target}-{seed}-{finding.index}"
        for number, (name, content) in enumerate(input_of(target, seed, finding.index).items()):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.bin").write_bytes(content)
            with (folder / "names.txt").open("a", errors="surrogatepass") as names:
                names.write(f"{number}.bin: {name!r}\n")
        lines.append(f"{target}, seed {seed}, index {finding.index} ({folder}): {finding.reason}")
    return "\n".join(lines)


def _work(target: str, seed: int, indexes: range, scratch: Path) -> Figures:
    """Tries inputs in this process, which an input may end."""
    index_file = scratch / "index"
    index_file.write_bytes(bytes(32))
    with index_file.open("r+b") as file, mmap.mmap(file.fileno(), 32) as current:
        place = scratch / "files"
        place.mkdir(exist_ok=True)
        limit = _memory("VmSize") + ADDED_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        figures, started = Figures(), time.monotonic()
        for index in indexes:
            current[:] = str(index).encode().ljust(32, b"\0")
            figures += _tried_here(target, seed, index, place)
        return replace(figures, seconds=time.monotonic() - started)


def _tried_here(target: str, seed: int, index: int, place: Path) -> Figures:
    files = input_of(target, seed, index)
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_bytes(b"5")  # the peak is that of this input
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, BLOCKED_SECONDS)
    findings: dict[str, Finding] = {}
    started = time.process_time()
    try:
        TARGETS[target].call(files, place)
    except Exception as error:  # noqa: BLE001  any is a finding
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} {last.filename}:{last.lineno} {str(error)[:60]}"
        findings = {where: Finding(index, traceback.format_exc(limit=-6))}
    took = time.process_time() - started
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    added = _memory("VmHWM") - before
    if not findings and added > TARGETS[target].bytes(files):
        findings = {"memory": Finding(index, f"{added} bytes of memory")}
    return Figures(1, 0.0, (took, index), (added, index), findings)


def _memory(name: str) -> int:
    """A size from the process's status, in bytes."""
    status = Path("/proc/self/status").read_bytes()
    return int(status.partition(f"{name}:".encode())[2].split(None, 1)[0]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    for name, default in (("seed", 1), ("first", 0), ("count", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        indexes = range(given.first, given.first + given.count)
        print(json.dumps(asdict(_work(given.target, given.seed, indexes, given.worker))))  # noqa: T201
        return
    figures = tried(given.target, given.seed, given.first, given.count)
    print(report(given.target, figures))  # noqa: T201
    print(kept(given.target, given.seed, figures, Path("fuzz-findings")))  # noqa: T201


def report(target: str, figures: Figures) -> str:
    return (
        f"{target}: {figures.inputs} inputs in {figures.seconds:.0f} s, slowest {figures.slowest[0]:.2f} s "
        f"(index {figures.slowest[1]}), most memory {figures.largest[0] / 2**20:.0f} MiB "
        f"(index {figures.largest[1]}), {len(figures.findings)} findings"
    )


if __name__ == "__main__":
    main()
