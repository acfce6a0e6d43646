"""Hints that something has changed in a directory. Only hints: who depends on them also looks."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

log = logging.getLogger(__name__)

# New, renamed and completely written files. Our own reading raises other events.
_HINTS: list[type[FileSystemEvent]] = [FileCreatedEvent, FileMovedEvent, FileClosedEvent]


class _Hint(FileSystemEventHandler):
    """Calls back and does nothing else: an exception in here would end the observer."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._on_change()


@contextmanager
def watching(directory: Path, on_change: Callable[[], None]) -> Iterator[None]:
    """Calls `on_change`, from a thread of its own, soon after a file appears in `directory`.

    Where the system refuses to watch, a warning says so and `on_change` is never called.
    """
    observer = Observer()
    observer.schedule(_Hint(on_change), str(directory), recursive=False, event_filter=_HINTS)
    try:
        observer.start()
    except OSError as error:
        log.warning("cannot watch %s (%s): new files are found by looking, not by events", directory, error)
        yield
        return
    try:
        yield
    finally:
        observer.stop()
        observer.join()
