"""The cores that a process may use, as cgroups and affinity limit them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from sampoll.files import cores
from sampoll.files.cores import cpu_limit, usable_cores

QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"


def tree(tmp_path: Path, own: str, files: Mapping[str, str]) -> tuple[Path, Path]:
    """The directory of the cgroups, and the file that names those of the process."""
    root = tmp_path / "cgroup"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    (tmp_path / "own").write_text(own)
    return root, tmp_path / "own"


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        # Version 2: in a container, which sees its own cgroup as the root, and on a host
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("0::/a.slice/b.service\n", {"a.slice/b.service/cpu.max": "200000 100000"}, 2.0),
        (
            "0::/a.slice/b.service\n",
            {"a.slice/cpu.max": "100000 100000", "a.slice/b.service/cpu.max": "max 100000"},
            1.0,
        ),
        ("0::/a\n", {"a/cpu.max": "400000 100000", "b/cpu.max": "100000 100000"}, 4.0),
        # Version 1: its controllers together or alone; a container names a path that it does not see
        (
            "4:cpu,cpuacct:/docker/ab\n",
            {f"cpu,cpuacct/{QUOTA}": "50000", f"cpu,cpuacct/{PERIOD}": "100000"},
            0.5,
        ),
        ("3:memory:/\n1:cpu:/a\n0::/\n", {f"cpu/a/{QUOTA}": "300000", f"cpu/a/{PERIOD}": "100000"}, 3.0),
        ("1:cpu:/\n", {f"cpu/{QUOTA}": "-1", f"cpu/{PERIOD}": "100000"}, None),
        ("2:cpuset:/a\n", {f"cpuset/a/{QUOTA}": "100000", f"cpuset/a/{PERIOD}": "100000"}, None),
        # Nothing, or nothing that can be read
        ("", {}, None),
        ("0::/../..\n", {"cpu.max": "100000 100000"}, 1.0),
        ("0::/\n", {"cpu.max": "100000 0"}, None),
        ("0::/\n", {"cpu.max": "a lot"}, None),
    ],
)
def test_the_smallest_limit_of_the_cgroups_counts(
    tmp_path: Path, own: str, files: Mapping[str, str], limit: float | None
) -> None:
    assert cpu_limit(*tree(tmp_path, own, files)) == limit


def test_without_cgroups_there_is_no_limit(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("limit", "usable"), [(None, 16), (64.0, 16), (2.0, 2), (1.5, 2), (0.25, 1), (0.0, 1)]
)
def test_a_limit_is_rounded_up_and_no_more_than_the_affinity(
    monkeypatch: pytest.MonkeyPatch, limit: float | None, usable: int
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: 16)
    monkeypatch.setattr(cores, "cpu_limit", lambda: limit)
    assert usable_cores() == usable


def test_processes_that_share_a_limit_use_a_part_of_it_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: 16)
    monkeypatch.setattr(cores, "cpu_limit", lambda: 6.0)
    monkeypatch.setenv(cores.SHARERS, "4")
    assert usable_cores() == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_process_on_one_core_uses_one() -> None:
    code = "import os; from sampoll.files.cores import usable_cores; "
    code += "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(usable_cores())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "1\n"
