"""Progress bars on standard error: what is done, what has failed, and what goes on before the first job."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event as Flag
from threading import RLock, Thread
from typing import Any

from tqdm import tqdm

from sampoll.core.events import (
    Event,
    InputScanned,
    JobDeferred,
    JobDone,
    JobFailed,
    JobSkipped,
    StopRequested,
)
from sampoll.core.names import printable

TICK_SECONDS = 1.0
"""How often the elapsed time is drawn while nothing else changes: loading a model may take minutes."""
ACTIVITIES = {
    "loading": "loading {model}",
    "converting": "converting the encoder for {engine}",
    "converted": "loading the converted encoder",
    "compiling": "compiling the encoder of {model}",
    "loaded": "{model} on {device}",
}
"""What a bar says about log records that have one of these events, with their fields."""
WITHOUT_TOTAL = "{desc} [{elapsed}]"

# Its own lock is for several processes, and makes a file in /dev/shm.
tqdm.set_lock(RLock())


def can_show_progress() -> bool:
    """Whether standard error is a terminal on which a line can be written again."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class Progress:
    """A bar; it is hidden as long as there is neither a job nor an activity. Thread-safe.

    `total` is the number of known jobs, None if they cannot be counted beforehand.
    """

    def __init__(self, unit: str, total: int | None, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._has_total = total is not None
        self._failures = self._retries = 0
        self._lock = RLock()  # a signal handler may report a stop at any time
        # With a delay, tqdm draws nothing before `_draw` does.
        self._bar: tqdm[Any] = tqdm(
            total=total, unit=unit, dynamic_ncols=True, delay=1e-3, disable=not is_shown
        )
        self._draw()

    def advance(self, jobs: int = 1) -> None:
        with self._lock:
            self._end(jobs)

    def fail(self) -> None:
        """One more job has failed, and is no longer waiting."""
        with self._lock:
            self._failures += 1
            self._note_counts()
            self._end(1)

    def retry(self) -> None:
        """One more attempt has failed, and its job will be tried again."""
        with self._lock:
            self._retries += 1
            self._note_counts()
            self._draw()

    def expect(self, waiting: int) -> None:
        """`waiting` jobs are known besides those that have ended."""
        with self._lock:
            self._bar.total = max(self._bar.total or 0, self._bar.n + waiting)
            self._draw()

    def say(self, activity: str) -> None:
        """What goes on, in front of the bar."""
        with self._lock:
            if self._is_shown:
                self._bar.set_description_str(activity, refresh=False)
                self._draw()

    def start_clock(self) -> None:
        """The speed counts from now on, if no job has ended yet."""
        with self._lock:
            if self._is_shown and not self._bar.n:
                self._bar.reset(self._bar.total)

    def tick(self) -> None:
        with self._lock:
            self._bar.refresh()

    def close(self) -> None:
        """Leaves the bar as it is now on the screen, and an activity without jobs does not stay there."""
        with self._lock:
            self._bar.leave = bool(self._bar.total or self._bar.n)
            self._bar.close()

    def _end(self, jobs: int) -> None:
        if self._bar.total is not None:  # jobs of a process that has died were in no scan
            self._bar.total = max(self._bar.total, self._bar.n + jobs)
        self._bar.update(jobs)
        if self._bar.disable:
            self._bar.n += jobs
            self._draw()

    def _note_counts(self) -> None:
        if self._is_shown:
            counts = ((self._failures, "failed"), (self._retries, "tried again"))
            text = ", ".join(f"{count} {what}" for count, what in counts if count)
            self._bar.set_postfix_str(text, refresh=False)

    def _draw(self) -> None:
        bar = self._bar
        if not self._is_shown:
            return
        bar.bar_format = WITHOUT_TOTAL if self._has_total and not bar.total else None
        bar.disable = not (bar.total or bar.n or bar.desc)
        if not bar.disable:
            bar.delay = 0  # otherwise tqdm, when it closes, takes it for a bar that was never drawn
            bar.refresh()


class JobProgress:
    """A listener that shows the jobs of a run on a bar."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar

    def __call__(self, event: Event) -> None:
        match event:
            case InputScanned(backlog):
                self._bar.expect(backlog.ready + backlog.settling + backlog.deferred)
            case JobDone() | JobSkipped():
                self._bar.advance()
            case JobFailed():
                self._bar.fail()
            case JobDeferred():
                self._bar.retry()
            case StopRequested():
                self._bar.say("stopping")


@contextmanager
def progress(unit: str, total: int | None = None, *, is_shown: bool) -> Iterator[Progress]:
    """A bar until the block ends. It also shows what models log while they are downloaded and loaded."""
    bar = Progress(unit, total, is_shown=is_shown)
    if not is_shown:
        yield bar
        return
    activity, logger, ended = _Activity(bar), logging.getLogger("sampoll"), Flag()
    level = logger.level
    logger.addHandler(activity)
    logger.setLevel(logging.DEBUG)  # the other handlers have levels of their own
    ticking = Thread(target=_tick, args=(bar, ended), name="progress", daemon=True)
    ticking.start()
    try:
        yield bar
    finally:
        ended.set()
        ticking.join()
        logger.setLevel(level)
        logger.removeHandler(activity)
        activity.close()
        bar.close()


def _tick(bar: Progress, ended: Flag) -> None:
    while not ended.wait(TICK_SECONDS):
        bar.tick()


class _Activity(logging.Handler):
    """Shows log records about a model that is downloaded or loaded."""

    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self._bar = bar
        self._bytes: tqdm[Any] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        fields = vars(record)
        event = fields.get("event")
        if event == "downloading":
            self._show_download(fields)
        elif event in ACTIVITIES:
            self._bar.say(printable(ACTIVITIES[event].format_map(fields)))
        if event == "loaded":
            self._bar.start_clock()

    def close(self) -> None:
        if self._bytes is not None:
            self._bytes.close()
        super().close()

    def _show_download(self, fields: Mapping[str, Any]) -> None:
        if self._bytes is None:
            self._bytes = tqdm(
                total=fields["total_bytes"],
                unit="B",
                unit_scale=True,
                desc=fields["file"],
                dynamic_ncols=True,
            )
        self._bytes.n = fields["bytes"]
        self._bytes.refresh()
        if self._bytes.n == self._bytes.total:
            self._bytes.close()
            self._bytes = None
