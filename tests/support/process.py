"""The real commands, and waiting for what they do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).parents[2]
SOURCE_TREE = Path(os.environ.get("SOURCE_TREE", REPOSITORY / "sampoll"))
"""The package's own folder, wherever it is while the wheel is tested."""
TESTS = REPOSITORY / "tests"
SAMPOLL = Path(sys.executable).with_name("sampoll")
DEADLINE_SECONDS = 60.0


def until(condition: Callable[[], object], what: str, seconds: float | None = None) -> None:
    """Waits for a condition, and fails if it does not become true."""
    deadline = time.monotonic() + (DEADLINE_SECONDS if seconds is None else seconds)
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of sampoll's, with the tests' own modules importable."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SAMPOLL_")}
    fixed = {"PYTHONPATH": str(TESTS), "XDG_CONFIG_HOME": "/nonexistent", "SAMPOLL_LOG_FORMAT": "text"}
    return {**clean, **fixed, **(extra or {})}


# Root may write anywhere unless these are taken away; setpriv is part of every Debian and Ubuntu.
_WITHOUT_PRIVILEGES = (
    (
        "setpriv",
        *(f"--{kind}=-dac_override,-dac_read_search,-fowner" for kind in ("bounding-set", "inh-caps")),
    )
    if os.geteuid() == 0
    else ()
)


def sampoll(
    *arguments: object,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    unprivileged: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs the real command to its end; `unprivileged`, permissions count even if the tests run as root."""
    return subprocess.run(
        [*(_WITHOUT_PRIVILEGES if unprivileged else ()), SAMPOLL, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS * 2,
        env=environment(env),
        cwd=cwd,
        check=False,
    )


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Other programs at the lowest priority, which take all the time that is left."""
    command = ["nice", "-n", "19", sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def running_sampoll(
    *arguments: object,
    log: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    unprivileged: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """The real command in the background, with both its outputs in `log`; killed at the end if it still
    runs."""
    command: list[str | Path] = [
        *(_WITHOUT_PRIVILEGES if unprivileged else ()),
        SAMPOLL,
        *map(str, arguments),
    ]
    process = subprocess.Popen(command, env=environment(env), stderr=log, stdout=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


def children_of(pid: int) -> list[int]:
    """The processes that this one has started, by whichever thread, and its zombies."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            found += map(int, (thread / "children").read_text().split())
    return found


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
