"""The submissions that a service has taken and not ended."""

import time
from collections import deque
from threading import Condition

SECONDS_AHEAD = 2.0
"""What ends in this time may be in flight, however many they are."""


class InFlight:
    """The number of submissions that were begun and are neither delivered nor rejected yet."""

    def __init__(self) -> None:
        self._count = 0
        self._began: float | None = None
        self._ended: deque[tuple[float, int]] = deque()  # when, and how many
        self._ended_count = 0  # the sum of these numbers, for which each group asks
        self._abandoned = False
        self._changed = Condition()

    def enter(self, count: int) -> None:
        with self._changed:
            self._began = self._began or time.monotonic()
            self._count += count

    def leave(self, count: int) -> None:
        with self._changed:
            self._count -= count
            self._ended.append((time.monotonic(), count))
            self._ended_count += count
            self._changed.notify_all()

    def abandon(self) -> None:
        """Wakes every waiting thread, because the run is ending."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def wait_until_none(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0 or self._abandoned)

    def room(self, few: int) -> int:
        """How many more may be in flight, as of `wait_until_few`; at least 1."""
        with self._changed:
            return max(1, int(max(few, self._soon_ended())) - self._count)

    def wait_until_few(self, few: int) -> None:
        """Waits until there are no more than `few`, or than end in SECONDS_AHEAD at the latest rate."""
        with self._changed:
            self._changed.wait_for(lambda: self._count <= max(few, self._soon_ended()) or self._abandoned)

    def _soon_ended(self) -> float:
        now = time.monotonic()
        since = max(self._began or now, now - SECONDS_AHEAD)
        while self._ended and self._ended[0][0] < since:
            self._ended_count -= self._ended.popleft()[1]
        return self._ended_count * SECONDS_AHEAD / (now - since) if self._ended_count else 0.0
