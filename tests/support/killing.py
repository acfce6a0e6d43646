"""Processes that are killed at a chosen system call."""

import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.process import environment

CALLS = (
    "rename,renameat,renameat2,mkdir,rmdir,unlink,unlinkat,link,linkat,symlink,symlinkat,"
    "fsync,syncfs,flock,write"
)


@dataclass(frozen=True)
class Point:
    """The `count`-th time that one thread makes `call`."""

    call: str
    count: int


def traced(strace: str, command: Sequence[str], *options: str) -> int:
    """Runs a command under strace; the exit code, negative for a signal."""
    env = environment({"PYTHONDONTWRITEBYTECODE": "1"})
    tracing = [strace, "-f", "-qq", f"--trace={CALLS}", *options]
    return subprocess.run(
        [*tracing, *command], env=env, capture_output=True, timeout=120, check=False
    ).returncode


def killed_at(strace: str, command: Sequence[str], point: Point) -> bool:
    """Whether the run reached the point, and was killed there."""
    inject = f"--inject={point.call}:signal=SIGKILL:when={point.count}"
    return traced(strace, command, "-o", "/dev/null", inject) in (-signal.SIGKILL, 137)


def points_of(strace: str, command: Sequence[str], log: Path) -> list[Point]:
    """Every point of one run that is not killed; one of its jobs fails."""
    assert traced(strace, command, "-o", str(log)) == 1
    made: dict[tuple[str, str], int] = {}
    for thread, call in re.findall(r"^(\d+) +(\w+)\(", log.read_text(), re.MULTILINE):
        made[thread, call] = made.get((thread, call), 0) + 1
    return sorted(
        {Point(call, n) for (_, call), count in made.items() for n in range(1, count + 1)},
        key=lambda point: (point.call, point.count),
    )
