"""The last hour, and what failed in it: for people."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from threading import Lock

from sampoll.errors import JobError
from sampoll.events import Events
from sampoll.naming import printable

MINUTES = 60
FAILURES = 20


class History(Events):
    """Counts what was done in each of the last sixty minutes, and keeps the last failures; thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._done: dict[int, int] = {}
        self._failures: deque[Mapping[str, str]] = deque(maxlen=FAILURES)

    def delivered(self, name: str, job_id: str, stem: str) -> None:
        with self._lock:
            minute = _minute()
            self._done[minute] = self._done.get(minute, 0) + 1
            self._done = {at: count for at, count in self._done.items() if at > minute - MINUTES}

    def failed(self, name: str, job_id: str, error: JobError) -> None:
        failure = {
            "name": printable(name),
            "at": datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
            "code": error.code,
            "message": printable(str(error)),
        }
        with self._lock:
            self._failures.appendleft(failure)

    def per_minute(self) -> list[int]:
        """How many were done in each minute, the running one last."""
        with self._lock:
            now = _minute()
            return [self._done.get(minute, 0) for minute in range(now - MINUTES + 1, now + 1)]

    def failures(self) -> Sequence[Mapping[str, str]]:
        """The last ones, the newest first."""
        with self._lock:
            return list(self._failures)


def _minute() -> int:
    return int(time.monotonic() // 60)
