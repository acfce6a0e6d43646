"""A running process makes itself known by two files: one that it holds locked, and one in which it beats.

The kernel releases the lock with the process, however it ends; so on one machine nobody has to guess. Those
who cannot see the lock hear the beats.
"""

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal, TypeAlias

from sampoll.files.atomic import replace_file

Describe: TypeAlias = Callable[[], Mapping[str, Any]]
"""What a process says of itself at each beat, as JSON has it."""


def nothing_to_say() -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Machine:
    """A running kernel, as far as locks go: containers on it are the same machine."""

    host: str
    boot: str

    @classmethod
    def this(cls) -> "Machine":
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            boot = "unknown"
        return cls(socket.gethostname(), boot)


def new_name(machine: Machine) -> str:
    """A name that no process has had before."""
    return f"{machine.host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


@contextmanager
def announced(path: Path, machine: Machine) -> Iterator[None]:
    """Holds a lock on a new file, which says whose it is, until the block ends; the file stays."""
    # Locked under another name first: nobody may ever see the file of a living process unlocked.
    fresh = path.with_name(f".{path.name}")
    with fresh.open("x", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({"host": machine.host, "boot": machine.boot, "pid": os.getpid()}, file)
        file.flush()
        fresh.rename(path)
        yield


@contextmanager
def beating(
    path: Path, interval_seconds: float, describe: Describe, *, only_while_healthy: bool = False
) -> Iterator[None]:
    """Counts in the beat file beside `path`, with what `describe` says, until the block ends.

    `only_while_healthy`: whoever says that it is not "healthy" falls silent, so that others take over.
    """
    stop, file = Event(), beat_file(path)

    def beat() -> None:
        count = 0
        while True:
            count += 1
            said = describe()
            if said.get("healthy", True) or not only_while_healthy:
                content = {"beat": count, "interval_seconds": interval_seconds, **said}
                with suppress(OSError):  # a full disk or a lost mount: to others we are as good as dead
                    replace_file(file, json.dumps(content).encode("ascii"), is_sole_writer=True)
            if stop.wait(interval_seconds):
                return

    thread = Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with suppress(OSError):
            file.unlink()


def beat_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.beat")


def remove(path: Path) -> None:
    """Removes the files of a process that is gone."""
    beat = beat_file(path)
    for file in (beat.with_name(f"{beat.name}.new"), beat, path):
        file.unlink(missing_ok=True)


@contextmanager
def held_if_dead(path: Path, machine: Machine, mode: Literal["r", "r+"] = "r+") -> Iterator[bool | None]:
    """Whether the process of this file has ended; None if `machine` cannot tell. If it has, nobody else is
    told the same before the block ends.

    Locks are only trusted within one running kernel: of a process of another machine nothing is known; one
    of this host before its last boot is dead. Some network filesystems lock only what is open for writing.
    """
    try:
        file = path.open(mode, encoding="utf-8")
    except FileNotFoundError:
        yield True
        return
    with file:
        boot, host = _owner(file.read())
        if boot not in (machine.boot, None) and host != machine.host:
            yield None
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _owner(content: str) -> tuple[str | None, str | None]:
    """The boot and the host that a file names; Nones if a power cut left it empty."""
    try:
        owner = json.loads(content)
        return str(owner["boot"]), str(owner["host"])
    except (ValueError, KeyError, TypeError):
        return None, None


@dataclass(frozen=True)
class Presence:
    """A process as others see it. `is_alive` is None where only its beats could tell, and none was heard yet;
    `said` is what it said at its last beat."""

    path: Path
    is_alive: bool | None
    said: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.path.name


def presences(directory: Path) -> list[Presence]:
    """Whoever has a file in `directory`, the dead as well; none where there is no such directory."""
    try:
        names = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    return [_seen(directory / name) for name in names]


def _seen(path: Path) -> Presence:
    said = _said(path)
    try:
        # Whoever looks need not have the right to write.
        with held_if_dead(path, Machine.this(), "r") as dead:
            return Presence(path, None if dead is None else not dead, said)
    except OSError:
        return Presence(path, None, said)


def heard(presence: Presence) -> Presence:
    """The same, once its beats have told whether it is alive: after two of its intervals at most."""
    if presence.is_alive is not None:
        return presence
    deadline = time.monotonic() + 2 * float(presence.said.get("interval_seconds", 0.0))
    while time.monotonic() < deadline:
        said = _said(presence.path)
        if said.get("beat") != presence.said.get("beat"):
            return Presence(presence.path, bool(said), said)
        time.sleep(0.1)
    return Presence(presence.path, False, presence.said)


def _said(path: Path) -> Mapping[str, Any]:
    try:
        said = json.loads(beat_file(path).read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
