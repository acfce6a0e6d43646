"""A node is one running process on the spool. It holds a lock on its own file as long as it runs.

A kill -9 releases the lock, so the next process on the same machine knows at once that the node is dead. A
machine that is gone, or a process that is suspended, is detected by its missing heartbeats.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import Interrupted
from sampoll.files.files import create_anew, ensure_below, opened_regular, read_if_regular
from sampoll.files.locks import keep_readers_from_locking, lock_file, require_locks
from sampoll.files.presence import (
    MAX_FILE_BYTES,
    Describe,
    Machine,
    announced,
    heartbeat_file,
    new_name,
    no_details,
    remove,
    sending_heartbeats,
)
from sampoll.spool.directories import JobDirectories
from sampoll.spool.journal import Journal, opened_journal, remove_work
from sampoll.spool.layout import Layout

HEARTBEATS_PER_LEASE = 5


@dataclass(frozen=True)
class Node:
    """This process's own place in the spool."""

    name: str
    lock: Path
    work: Path
    stage: Path
    directories: JobDirectories
    journal: Journal

    @property
    def stopping(self) -> Path:
        return _stopping(self.lock)

    def note_stopping(self) -> None:
        """Notes a requested stop: if the process is killed from now on, no job is charged for it."""
        with suppress(OSError):  # only the mark is lost; the process must stop all the same
            create_anew(self.stopping, b"", sync=False)


@contextmanager
def joined(
    layout: Layout, settings: SpoolSettings, describe: Describe = no_details, *, holds_input: bool = False
) -> Iterator[Node]:
    """A new node, alive until the block ends; Interrupted if another process holds the input exclusively, and
    SystemUnsupported on a system without file locks. `holds_input`: this process has the lock of `held_input`
    from its parent.

    It writes several heartbeats in every lease, each with what `describe` returns. While it is not healthy,
    it writes none, so that other processes take over its jobs.
    """
    require_locks()
    machine = Machine.this()
    name = new_name(machine)
    lock, work, stage = layout.nodes / name, layout.work / name, layout.stage / name
    held = nullcontext() if holds_input else held_input(layout, exclusive=settings.exclusive)
    with held, announced(lock, machine):
        work.mkdir()
        stage.mkdir()
        interval_seconds = settings.lease_seconds / HEARTBEATS_PER_LEASE
        with (
            opened_journal(work) as journal,
            sending_heartbeats(lock, interval_seconds, describe, only_while_healthy=True),
        ):
            node = Node(name, lock, work, stage, JobDirectories(work), journal)
            try:
                yield node
            finally:
                node.directories.clear()
                leave(layout, name)


@contextmanager
def held_input(layout: Layout, *, exclusive: bool) -> Iterator[int]:
    """Holds the input, shared or exclusively, by this descriptor, until the block has ended, and with it all
    processes that have inherited it; Interrupted if another process holds it in conflict."""
    require_locks()
    ensure_below(layout.input, layout.nodes)
    with opened_regular(layout.nodes / ".lock", "a") as file:
        keep_readers_from_locking(file)
        try:
            lock_file(file, shared=not exclusive)
        except BlockingIOError as error:
            whose = "" if exclusive else " by a process that wants it for itself (--exclusive)"
            raise Interrupted(f"the input {layout.input} is in use{whose}: run again later") from error
        yield file.fileno()


class HeartbeatMonitor:
    """Compares the heartbeats of other nodes. A node has expired once its heartbeat has not changed for a
    lease, by the monotonic clock of this process: the clocks of other machines do not matter."""

    def __init__(self, layout: Layout, lease_seconds: float) -> None:
        self._layout = layout
        self._lease_seconds = lease_seconds
        self._heard: dict[str, tuple[bytes | None, float]] = {}

    def has_expired(self, name: str, now: float) -> bool:
        """`now` is monotonic."""
        beat = read_if_regular(heartbeat_file(self._layout.nodes / name), at_most=MAX_FILE_BYTES)
        last, since = self._heard.get(name, (beat, now))
        if beat != last:
            since = now
        self._heard[name] = beat, since
        return now - since >= self._lease_seconds


def leave(layout: Layout, name: str) -> None:
    """Removes a node's files. What cannot be removed, above all a directory that still holds jobs, is
    found by the next process, as long as the node's lock is there."""
    lock = layout.nodes / name
    with suppress(OSError):
        if os.path.lexists(layout.stage / name):
            (layout.stage / name).rmdir()
        if os.path.lexists(layout.work / name):
            remove_work(layout.work / name)
        _stopping(lock).unlink(missing_ok=True)
        remove(lock)


def was_stopping(layout: Layout, name: str) -> bool:
    return _stopping(layout.nodes / name).exists()


def _stopping(lock: Path) -> Path:
    return lock.with_name(f".{lock.name}.stopping")
