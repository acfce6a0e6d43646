"""A node is one running process on the spool. It holds a lock on its own file, which ends with it.

A kill -9 releases the lock, so the next process on the same machine knows at once that the node is dead.
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

from sampoll.spool.layout import Layout


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
def joined(layout: Layout) -> Iterator[Node]:
    """A new node, alive until the block ends."""
    machine = Machine.this()
    name = f"{machine.host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    node = Node(name, layout.nodes / name, layout.work / name, layout.stage / name)
    # Locked under another name first: nobody may ever see the file of a living node unlocked.
    fresh = layout.nodes / f".{name}"
    with fresh.open("x", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({"host": machine.host, "boot": machine.boot, "pid": os.getpid()}, file)
        file.flush()
        fresh.rename(node.lock)
        node.work.mkdir()
        node.stage.mkdir()
        try:
            yield node
        finally:
            leave(layout, node.name)


def leave(layout: Layout, name: str) -> None:
    """Removes a node's files. A directory that still holds jobs stays, and is found by the next process."""
    try:
        for directory in (layout.stage / name, layout.work / name):
            if directory.exists():
                directory.rmdir()
    except OSError:
        return
    lock = layout.nodes / name
    _stopping(lock).unlink(missing_ok=True)
    lock.unlink(missing_ok=True)


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


def _stopping(lock: Path) -> Path:
    return lock.with_name(f".{lock.name}.stopping")
