"""A running process announces itself by two files: one that it keeps locked, and one with its heartbeats.

The kernel always releases the lock when the process ends: on the same machine, the lock alone decides whether
the process is alive. Other machines, which may not see the lock, check the heartbeats.
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
"""What a process writes about itself with each heartbeat, in the types of JSON."""


def no_details() -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Machine:
    """One running kernel, which is the scope of locks: containers on it are the same machine."""

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
    """A name that no other process has or had."""
    return f"{machine.host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


@contextmanager
def announced(path: Path, machine: Machine) -> Iterator[None]:
    """Creates a file that names this process, and holds a lock on it until the block ends; the file stays."""
    # Created and locked under another name first: other processes must never see `path` unlocked.
    fresh = path.with_name(f".{path.name}")
    with fresh.open("x", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({"host": machine.host, "boot": machine.boot, "pid": os.getpid()}, file)
        file.flush()
        fresh.rename(path)
        yield


@contextmanager
def sending_heartbeats(
    path: Path, interval_seconds: float, describe: Describe, *, only_while_healthy: bool = False
) -> Iterator[None]:
    """Writes a counter and what `describe` returns to the heartbeat file beside `path` until the block ends.

    With `only_while_healthy`, a process that describes itself as not "healthy" writes nothing, so that others
    take over its jobs.
    """
    stop, file = Event(), heartbeat_file(path)

    def send() -> None:
        count = 0
        while True:
            count += 1
            details = describe()
            if details.get("healthy", True) or not only_while_healthy:
                content = {"beat": count, "interval_seconds": interval_seconds, **details}
                with suppress(OSError):  # a full disk or a lost mount: others will see this process as dead
                    replace_file(file, json.dumps(content).encode("ascii"), is_sole_writer=True)
            if stop.wait(interval_seconds):
                return

    thread = Thread(target=send, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with suppress(OSError):
            file.unlink()


def heartbeat_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.beat")


def remove(path: Path) -> None:
    """Removes the files of a process that has ended."""
    beat = heartbeat_file(path)
    for file in (beat.with_name(f"{beat.name}.new"), beat, path):
        file.unlink(missing_ok=True)


@contextmanager
def locked_if_dead(path: Path, machine: Machine, mode: Literal["r", "r+"] = "r+") -> Iterator[bool | None]:
    """Yields whether the process of this file has ended, None if `machine` cannot know. If it has ended, the
    lock is held until the block ends, so that no other process gets the same answer meanwhile.

    Locks are trusted within one running kernel only: the answer is None for a process of another machine, and
    True for one of this host before its last boot. Some network filesystems lock only files open for writing.
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
    """The boot id and the host in the content of a file; (None, None) if a power failure left it empty."""
    try:
        owner = json.loads(content)
        return str(owner["boot"]), str(owner["host"])
    except (ValueError, KeyError, TypeError):
        return None, None


@dataclass(frozen=True)
class Presence:
    """A process as seen by others. `is_alive` is None if only heartbeats can tell and no new one was seen
    yet; `details` is what the process wrote with its last heartbeat."""

    path: Path
    is_alive: bool | None
    details: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.path.name


def presences(directory: Path) -> list[Presence]:
    """The processes that have a file in `directory`, dead ones included; none if the directory is missing."""
    try:
        names = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    return [_seen(directory / name) for name in names]


def _seen(path: Path) -> Presence:
    details = _details(path)
    try:
        # Opened for reading, because a user who asks for the status may not have write permission.
        with locked_if_dead(path, Machine.this(), "r") as dead:
            return Presence(path, None if dead is None else not dead, details)
    except OSError:
        return Presence(path, None, details)


def with_liveness(presence: Presence) -> Presence:
    """The same process with `is_alive` known: if necessary, waits up to two heartbeat intervals for one."""
    if presence.is_alive is not None:
        return presence
    deadline = time.monotonic() + 2 * float(presence.details.get("interval_seconds", 0.0))
    while time.monotonic() < deadline:
        details = _details(presence.path)
        if details.get("beat") != presence.details.get("beat"):
            return Presence(presence.path, bool(details), details)
        time.sleep(0.1)
    return Presence(presence.path, False, presence.details)


def _details(path: Path) -> Mapping[str, Any]:
    try:
        details = json.loads(heartbeat_file(path).read_bytes())
    except (OSError, ValueError):
        return {}
    return details if isinstance(details, dict) else {}
