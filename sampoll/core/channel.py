"""A queue between threads, bounded by cost and number, that either side can close."""

import math
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Condition, RLock
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    item: T
    cost: int
    since: float  # monotonic seconds


class Channel(Generic[T]):
    """A FIFO queue. `put` waits while the queued items cost `capacity` or more, or are `max_items`; an empty
    queue accepts any.

    A producer announces upcoming items with `expect`; a consumer that asks for several items waits for them,
    and is woken only when there is something to do.
    `close` wakes all waiting threads: queued items can still be taken, but no more can be put.
    """

    def __init__(self, capacity: int = sys.maxsize, max_items: int = sys.maxsize) -> None:
        self._capacity = capacity
        self._max_items = max_items
        self._entries: deque[_Entry[T]] = deque()
        self._cost = 0
        self._expected = 0
        self._closed = False
        self._wanted: list[int] = []
        """How many items each waiting consumer waits for."""
        lock = RLock()
        self._has_room, self._has_items = Condition(lock), Condition(lock)

    def expect(self, count: int) -> None:
        """Announces `count` more items; a negative `count` withdraws that many announced items."""
        with self._has_items:
            self._expected += count
            self._wake_consumers()

    def put(self, item: T, cost: int = 1) -> bool:
        """Adds an item. Returns True once it is in the queue, False if the channel is closed."""
        return self.put_all([(item, cost)])

    def put_all(self, items: Iterable[tuple[T, int]]) -> bool:
        """Adds items with their costs, each as by `put`. False if the channel was closed before the last."""
        with self._has_room:
            for item, cost in items:
                if self._is_full() and not self._closed:
                    self._wake_consumers()
                    self._has_room.wait_for(lambda: self._closed or not self._is_full())
                if self._closed:
                    return False
                self._entries.append(_Entry(item, cost, time.monotonic()))
                self._cost += cost
            self._wake_consumers()
            return True

    def offer(self, item: T, cost: int = 1) -> bool:
        """Like `put`, but does not wait: returns False if the total cost would exceed `capacity`, unless the
        queue is empty."""
        with self._has_room:
            if self._entries and self._cost + cost > self._capacity:
                return False
            return self.put(item, cost)

    def take(
        self, at_most: int = 1, max_wait_seconds: float = 0.0, timeout_seconds: float | None = None
    ) -> list[T]:
        """Removes and returns the next items; waits for the first one. The list is empty once the channel is
        closed and drained, or if no item arrives within `timeout_seconds`.

        Then waits for more items until there are `at_most`, the channel is full or closed, no more are
        expected, or the first item has waited for `max_wait_seconds`.
        """
        with self._has_items:
            if not self._has_come(timeout_seconds):
                return []
            while not self._is_worth_taking(at_most):
                left = self._entries[0].since + max_wait_seconds - time.monotonic()
                if left <= 0:
                    break
                self._wait_for(at_most, left)
                # Another consumer may have taken the items meanwhile.
                if not self._has_come(timeout_seconds):
                    return []
            taken = [self._entries.popleft() for _ in range(min(at_most, len(self._entries)))]
            self._cost -= sum(entry.cost for entry in taken)
            self._expected = max(0, self._expected - len(taken))
            self._has_room.notify_all()
            self._wake_consumers()
            return [entry.item for entry in taken]

    def _has_come(self, timeout_seconds: float | None) -> bool:
        """Waits until there is an item, or there will be none; False if neither happens in time."""
        deadline = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not (self._entries or self._closed):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._wait_for(1, None if timeout_seconds is None else left)
        return True

    def _wait_for(self, count: int, seconds: float | None) -> None:
        """Waits until `count` items are there, or it is not worth waiting for so many."""
        self._wanted.append(count)
        self._has_items.wait(seconds)
        self._wanted.remove(count)

    def _wake_consumers(self) -> None:
        if self._entries and self._wanted and self._is_worth_taking(min(self._wanted)):
            self._has_items.notify_all()

    def _is_worth_taking(self, at_most: int) -> bool:
        inside = len(self._entries)
        return inside >= at_most or self._is_full() or self._closed or self._expected <= inside

    def _is_full(self) -> bool:
        return self._cost >= self._capacity or len(self._entries) >= self._max_items

    def drain(self) -> Iterator[T]:
        """Takes items one by one until the channel is closed and empty."""
        while taken := self.take():
            yield from taken

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def cost(self) -> int:
        """The total cost of the queued items."""
        return self._cost

    @property
    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        with self._has_room:
            self._closed = True
            self._has_room.notify_all()
            self._has_items.notify_all()
