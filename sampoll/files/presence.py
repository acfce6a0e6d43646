"""A running process announces itself by two files: one that it keeps locked, and one with its heartbeats.

The kernel always releases the lock when the process ends: on the same machine, the lock alone decides whether
the process is alive. Other machines, which may not see the lock, check the heartbeats.

Other people may be able to write into the same directory. What does not have the name and the content of such
a file, or is no regular file, is neither believed nor removed.
"""

import json
import os
import re
import socket
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal, TypeAlias

from sampoll.files.atomic import replace_file
from sampoll.files.files import (
    NO_FILE_OF_OURS,
    opened_regular,
    read_if_regular,
    read_regular,
)
from sampoll.files.locks import keep_readers_from_locking, lock_file

MAX_FILE_BYTES = 64 * 1024
"""More than a process writes about itself."""
MAX_WAIT_SECONDS = 60.0
"""How long to wait at most for heartbeats of processes on other machines."""

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


def is_name(name: str) -> bool:
    """Whether it can have been made by `new_name`."""
    return re.fullmatch(r"[^.].*-[0-9]+-[0-9a-f]{8}", name, re.DOTALL) is not None


@contextmanager
def announced(path: Path, machine: Machine) -> Iterator[None]:
    """Creates a file that names this process, and holds a lock on it until the block ends; the file stays."""
    # Created and locked under another name first: other processes must never see `path` unlocked.
    fresh = path.with_name(f".{path.name}")
    with fresh.open("x", encoding="utf-8") as file:
        keep_readers_from_locking(file)
        lock_file(file, wait=True)
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
    """Removes the files of a process that has ended; nothing if `path` was written by something else."""
    if os.path.lexists(path) and not is_presence(path):
        return
    beat = heartbeat_file(path)
    for file in (beat.with_name(f"{beat.name}.new"), beat):
        with suppress(FileNotFoundError):
            if stat.S_ISREG(file.lstat().st_mode):
                file.unlink()
    path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Owner:
    """The process that a file names; both are "" if a power failure has left the file empty."""

    boot: str
    host: str


@contextmanager
def locked_if_dead(path: Path, machine: Machine, mode: Literal["r", "r+"] = "r+") -> Iterator[bool | None]:
    """Yields whether the process of this file has ended, None if `machine` cannot know. If it has ended, the
    lock is held until the block ends, so that no other process gets the same answer meanwhile.

    Locks are trusted within one running kernel only: the answer is None for a process of another machine, and
    True for one of this host before its last boot. Some network filesystems lock only files open for writing.
    The answer is None, too, if no process has written this file, or this user may not open it; and True if
    there is none.
    """
    with ExitStack() as stack:
        try:
            is_dead = _is_dead(stack.enter_context(opened_regular(path, mode)), machine)
        except FileNotFoundError:
            is_dead = True
        except OSError as error:
            if error.errno not in NO_FILE_OF_OURS:
                raise
            is_dead = None
        yield is_dead


def _is_dead(file: FileIO, machine: Machine) -> bool | None:
    owner = _owner(file.read(MAX_FILE_BYTES))
    if owner is None or (owner.boot not in (machine.boot, "") and owner.host != machine.host):
        return None
    try:
        lock_file(file)
    except BlockingIOError:
        return False
    return True


def _owner(content: bytes | None) -> _Owner | None:
    """The process that wrote this content into its file; None if it is no such content."""
    if content is None:
        return None
    if not content.strip(b"\0"):
        return _Owner("", "")
    document = _object(content)
    boot, host = document.get("boot"), document.get("host")
    return _Owner(boot, host) if isinstance(boot, str) and isinstance(host, str) else None


def _object(content: bytes) -> Mapping[str, Any]:
    """A JSON object; empty for any other content."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


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
        names = sorted(path.name for path in directory.iterdir() if is_name(path.name))
    except FileNotFoundError:
        return []
    seen = (_seen(directory / name) for name in names)
    return [presence for presence in seen if presence is not None]


def is_presence(path: Path) -> bool:
    """Whether a process has written this file to announce itself."""
    return is_name(path.name) and _owner(read_if_regular(path, at_most=MAX_FILE_BYTES)) is not None


def _seen(path: Path) -> Presence | None:
    """None if no process has written this file. Of one that this user may not read, only heartbeats tell."""
    details = _details(path)
    try:
        if _owner(read_regular(path, at_most=MAX_FILE_BYTES)) is None:
            return None
    except PermissionError:
        return Presence(path, None, details) if details else None
    except OSError:
        return None
    try:
        # Opened for reading, because a user who asks for the status may not have write permission.
        with locked_if_dead(path, Machine.this(), "r") as dead:
            return Presence(path, None if dead is None else not dead, details)
    except OSError:
        return Presence(path, None, details)


def with_liveness(seen: Sequence[Presence]) -> list[Presence]:
    """The same processes with `is_alive` known: if necessary, waits for new heartbeats of each process, up to
    two of its intervals, and up to MAX_WAIT_SECONDS for all."""
    began, known = time.monotonic(), list(seen)
    while any(presence.is_alive is None for presence in known):
        time.sleep(0.1)
        waited_seconds = time.monotonic() - began
        known = [_seen_again(presence, waited_seconds) for presence in known]
    return known


def _seen_again(presence: Presence, waited_seconds: float) -> Presence:
    if presence.is_alive is not None:
        return presence
    details = _details(presence.path)
    if details.get("beat") != presence.details.get("beat"):
        return Presence(presence.path, bool(details), details)
    interval = presence.details.get("interval_seconds")
    wait_seconds = min(2 * interval if isinstance(interval, int | float) else 0.0, MAX_WAIT_SECONDS)
    return presence if waited_seconds < wait_seconds else replace(presence, is_alive=False)


def _details(path: Path) -> Mapping[str, Any]:
    return _object(read_if_regular(heartbeat_file(path), at_most=MAX_FILE_BYTES) or b"")
