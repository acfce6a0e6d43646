"""Jobs done per minute in the last hour, for the status page."""

import time
from threading import Lock

from sampoll.core.events import Event, JobDone

MINUTES = 60


class History:
    """Counts what was done in each of the last sixty minutes; thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._done: dict[int, int] = {}

    def __call__(self, event: Event) -> None:
        if not isinstance(event, JobDone):
            return
        with self._lock:
            minute = _minute()
            self._done[minute] = self._done.get(minute, 0) + 1
            self._done = {at: count for at, count in self._done.items() if at > minute - MINUTES}

    def per_minute(self) -> list[int]:
        """How many were done in each minute, the running one last."""
        with self._lock:
            now = _minute()
            return [self._done.get(minute, 0) for minute in range(now - MINUTES + 1, now + 1)]


def _minute() -> int:
    return int(time.monotonic() // 60)
