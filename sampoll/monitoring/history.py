"""What was done and what failed in each minute of the last hour, and how fast, for the status page."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock

from sampoll.core.events import (
    Event,
    JobDeferred,
    JobDone,
    JobFailed,
    JobLost,
    JobSkipped,
    JobStarted,
    Paused,
)

MINUTES = 60
RATE_SECONDS = 300.0
RATE_JOBS = 20
"""The rate is measured over at least so much of the last work, as far as the last hour has it."""


@dataclass
class Minute:
    """What ended in it. `busy_seconds`: the time with jobs in flight; `begins`: seconds of the epoch."""

    done: int = 0
    failed: int = 0
    busy_seconds: float = 0.0
    begins: float = 0.0


class History:
    """A listener that counts the outcomes of the last sixty minutes; thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._minutes: dict[int, Minute] = {}
        self._in_flight: set[str] = set()
        self._counted_at = time.monotonic()

    def __call__(self, event: Event) -> None:
        with self._lock:
            match event:
                case Paused(returns_jobs=True):
                    self._running_minute()
                    self._in_flight.clear()
                case JobStarted(submission):
                    self._running_minute()
                    self._in_flight.add(submission.id)
                case JobDone() | JobFailed() | JobSkipped() | JobDeferred() | JobLost():
                    minute = self._running_minute()
                    minute.done += isinstance(event, JobDone)
                    minute.failed += isinstance(event, JobFailed)
                    self._in_flight.discard(event.job_id)

    def minutes(self) -> Sequence[Minute]:
        """The last hour, the running minute last."""
        with self._lock:
            self._running_minute()
            now = _minute()
            known = {at: self._minutes.get(at, Minute()) for at in range(now - MINUTES + 1, now + 1)}
            return [replace(minute, begins=_begins(at)) for at, minute in known.items()]

    def jobs_per_second(self) -> float | None:
        """How fast jobs ended lately, while there were any in flight; None if none did in the last hour."""
        jobs, seconds = 0, 0.0
        for minute in reversed(self.minutes()):
            if seconds >= RATE_SECONDS and jobs >= RATE_JOBS:
                break
            jobs += minute.done + minute.failed
            seconds += minute.busy_seconds
        return jobs / seconds if jobs and seconds else None

    def _running_minute(self) -> Minute:
        """The counts of the running minute, to which the busy time since the last call is added."""
        now = time.monotonic()
        at = _minute()
        if at not in self._minutes:
            self._minutes[at] = Minute()
            for old in [minute for minute in self._minutes if minute <= at - MINUTES]:
                del self._minutes[old]
        if self._in_flight:
            self._minutes[at].busy_seconds += now - self._counted_at
        self._counted_at = now
        return self._minutes[at]


def _minute() -> int:
    return int(time.monotonic() // 60)


def _begins(minute: int) -> float:
    return time.time() + minute * 60 - time.monotonic()
