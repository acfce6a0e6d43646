"""The processor cores that this process may use: those that its affinity allows, and the CPU time that its
cgroups, those of a container for example, grant."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
SHARERS = "SAMPOLL_CPU_SHARERS"
"""The environment variable with the number of processes that share the CPU time of their cgroup: the workers
of one command have it."""


def usable_cores() -> int:
    """At least 1. A part of a core counts as one: a limit of 1.5 cores is used up by two threads only."""
    limit = cpu_limit()
    allowed = allowed_cores()
    return allowed if limit is None else max(1, min(allowed, math.ceil(limit / _sharers())))


def allowed_cores() -> int:
    """The cores on which the process may run, whatever CPU time it may take there."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _sharers() -> int:
    number = os.environ.get(SHARERS, "")
    return max(1, int(number)) if number.isdecimal() else 1


def cpu_limit(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> float | None:
    """The smallest limit of the cgroups of this process and of those above them, in cores; None without any.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, and /scheduler/sched-bwc.html for version 1
    """
    limits = [_limit(directory) for directory in _cgroup_directories(cgroups, own)]
    return min((limit for limit in limits if limit is not None), default=None)


def _cgroup_directories(cgroups: Path, own: Path) -> Iterator[Path]:
    """The directories that can hold the limits: a process in a container may see its cgroup as the root."""
    try:
        lines = own.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            roots = [cgroups]
        elif "cpu" in controllers.split(","):
            roots = [cgroups / "cpu", cgroups / controllers]
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for root in roots:
            yield from (root.joinpath(*parts[:count]) for count in range(len(parts) + 1))


def _limit(directory: Path) -> float | None:
    """The limit of one cgroup; None if it has none, or is not seen here."""
    quota, period = [*_words(directory / "cpu.max"), "", ""][:2]
    if not quota:
        [quota, *_] = [*_words(directory / "cpu.cfs_quota_us"), ""]
        [period, *_] = [*_words(directory / "cpu.cfs_period_us"), ""]
    if not (quota.isdecimal() and period.isdecimal() and int(period)):  # "max", -1, or no such file
        return None
    return int(quota) / int(period)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return []
