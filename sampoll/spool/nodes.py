"""A node is one running process on the spool. It holds a lock on its own file, which ends with it.

A kill -9 releases the lock, so the next process on the same machine knows at once that the node is dead. A
machine that is gone, and a process that is stopped, are known by their silence.
"""

import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from sampoll.errors import CutShort
from sampoll.spool.layout import Layout

BEATS_PER_LEASE = 5


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


@dataclass(frozen=True)
class Node:
    """This process's own place in the spool."""

    name: str
    lock: Path
    work: Path
    stage: Path

    @property
    def stopping(self) -> Path:
        return _stopping(self.lock)

    def note_stopping(self) -> None:
        """From here on, a kill is no job's fault: somebody asked for the end."""
        with suppress(OSError):  # only the mark is lost; the end must come all the same
            self.stopping.touch()


@contextmanager
def joined(layout: Layout, *, lease_seconds: float, exclusive: bool) -> Iterator[Node]:
    """A new node, alive until the block ends; CutShort if the input is somebody's alone.

    It beats a few times in every lease.
    """
    machine = Machine.this()
    name = f"{machine.host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    node = Node(name, layout.nodes / name, layout.work / name, layout.stage / name)
    # Locked under another name first: nobody may ever see the file of a living node unlocked.
    fresh = layout.nodes / f".{name}"
    with _shared_input(layout, exclusive=exclusive), fresh.open("x", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({"host": machine.host, "boot": machine.boot, "pid": os.getpid()}, file)
        file.flush()
        fresh.rename(node.lock)
        node.work.mkdir()
        node.stage.mkdir()
        with _beating(_beat_file(node.lock), lease_seconds / BEATS_PER_LEASE):
            try:
                yield node
            finally:
                leave(layout, node.name)


@contextmanager
def _shared_input(layout: Layout, *, exclusive: bool) -> Iterator[None]:
    """Holds the input together with others, or for oneself; CutShort if that cannot be."""
    with (layout.nodes / ".lock").open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            whose = "" if exclusive else " by a process that wants it for itself (--exclusive)"
            raise CutShort(f"the input {layout.input} is in use{whose}: run again later") from error
        yield


@contextmanager
def _beating(path: Path, interval_seconds: float) -> Iterator[None]:
    """Counts in a file, as a sign of life for those who cannot see our lock."""
    stop = Event()

    def beat() -> None:
        count = 0
        while True:
            count += 1
            with suppress(OSError):  # a full disk or a lost mount: to others we are as good as dead
                path.write_text(f"{count:012}", encoding="ascii")
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
            path.unlink()


class Listener:
    """Hears the beats of other nodes. A node is silent once it has not beaten for a lease, on a clock of our
    own that does not jump: the clocks of other machines do not matter."""

    def __init__(self, layout: Layout, lease_seconds: float) -> None:
        self._layout = layout
        self._lease_seconds = lease_seconds
        self._heard: dict[str, tuple[str | None, float]] = {}

    def is_silent(self, name: str, now: float) -> bool:
        """`now` is monotonic."""
        try:
            beat = _beat_file(self._layout.nodes / name).read_text(encoding="ascii")
        except (OSError, ValueError):
            beat = None
        last, since = self._heard.get(name, (beat, now))
        if beat != last:
            since = now
        self._heard[name] = beat, since
        return now - since >= self._lease_seconds


def leave(layout: Layout, name: str) -> None:
    """Removes a node's files. What has to stay, above all a directory that still holds jobs, is found by the
    next process."""
    lock = layout.nodes / name
    with suppress(OSError):
        for directory in (layout.stage / name, layout.work / name):
            if directory.exists():
                directory.rmdir()
        for path in (_stopping(lock), _beat_file(lock), lock):
            path.unlink(missing_ok=True)


def was_stopping(layout: Layout, name: str) -> bool:
    return _stopping(layout.nodes / name).exists()


@contextmanager
def held_if_dead(layout: Layout, name: str, machine: Machine) -> Iterator[bool | None]:
    """Whether the process of a node has ended; None if `machine` cannot tell. If it has, nobody else is told
    the same before the block ends.

    Locks are only trusted within one running kernel: of a node of another machine nothing is known; one of
    this host before its last boot is dead.
    """
    try:
        file = (layout.nodes / name).open("r+", encoding="utf-8")
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
    """The boot and the host that a node's file names; Nones if a power cut left it empty."""
    try:
        owner = json.loads(content)
        return str(owner["boot"]), str(owner["host"])
    except (ValueError, KeyError, TypeError):
        return None, None


def _beat_file(lock: Path) -> Path:
    return lock.with_name(f".{lock.name}.beat")


def _stopping(lock: Path) -> Path:
    return lock.with_name(f".{lock.name}.stopping")
