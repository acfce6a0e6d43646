"""Notifications that something has changed in a directory. Some may be lost, so callers must also scan it."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from sampoll.files.mounts import filesystem_of, mountinfo

log = logging.getLogger(__name__)

WatchMode: TypeAlias = Literal["auto", "native", "polling"]
"""native: events of the operating system; polling: scans only; auto: depends on the filesystem."""

NETWORK_FILESYSTEMS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "prl_fs", "smb3"}
    | {"smbfs", "vboxsf", "virtiofs", "vmhgfs", "gfs2", "ocfs2", "fuse.cephfs", "fuse.glusterfs"}
    | {"fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fuse.vmhgfs-fuse"}
)
"""Filesystems on which writes by another machine raise no event on this one."""

# New, renamed and completely written files, and folders that may contain such files. Our own reads raise
# other types of events.
_HINTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileMovedEvent,
    FileClosedEvent,
    DirCreatedEvent,
    DirMovedEvent,
]


class Overflows(logging.Handler):
    """Calls `on_overflow` when watchdog logs that the operating system has dropped events."""

    def __init__(self, on_overflow: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._on_overflow = on_overflow

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._on_overflow()

    @contextmanager
    def listening(self) -> Iterator[None]:
        logger = logging.getLogger("watchdog.observers.inotify_c")
        level, logger.propagate = logger.level, False
        logger.setLevel(logging.WARNING)
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.setLevel(level)


class _Hint(FileSystemEventHandler):
    """Calls `on_change` and does nothing else: an exception here would end the observer."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._on_change()


class Watch:
    """Calls `on_change`, from a thread of its own, soon after a file appears in `directory`.

    A watch can stop without an error: call `restart_if_dead` regularly to replace it. If the operating system
    refuses to watch, one warning is logged, and `on_change` is never called.
    """

    def __init__(self, directory: Path, on_change: Callable[[], None], *, recursive: bool) -> None:
        self._directory = directory
        self._on_change = on_change
        self._recursive = recursive
        self._refused = False
        self._observer = self._started()

    @property
    def is_up(self) -> bool:
        """Whether events are received."""
        return not self._refused and self._delivers_events()

    def restart_if_dead(self) -> None:
        """Replaces a watch that has stopped."""
        if not self._refused and not self._delivers_events():
            log.warning("events of %s have stopped; the watch is started again", self._directory)
            self.close()
            self._observer = self._started()

    def close(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()

    def _delivers_events(self) -> bool:
        observer = self._observer
        # The observer stays alive when the emitter that reads the events has died.
        return (
            observer is not None
            and observer.is_alive()
            and bool(observer.emitters)
            and all(emitter.is_alive() for emitter in observer.emitters)
        )

    def _started(self) -> "Observer | None":  # type: ignore[valid-type]
        try:
            observer = Observer()
            observer.schedule(
                _Hint(self._on_change), str(self._directory), recursive=self._recursive, event_filter=_HINTS
            )
            observer.start()
        except OSError as error:
            self._refused = True
            log.warning(
                "cannot watch %s (%s): new files are found by scans, not by events", self._directory, error
            )
            return None
        return observer


def watches_natively(directory: Path, mode: WatchMode) -> bool:
    """Whether to use events of the operating system for `directory`."""
    if mode != "auto":
        return mode == "native"
    kind = filesystem_of(os.fspath(directory), mountinfo())
    if kind in NETWORK_FILESYSTEMS:
        log.info("%s is on %s: new files are found by scans, not by events", directory, kind)
        return False
    return True
