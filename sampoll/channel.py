"""A queue between two threads, bounded by cost, that either side can close."""

from collections import deque
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """Items in order. `put` waits while the items inside cost `capacity` or more; one item always fits.

    Closing wakes everyone: what is inside can still be taken, nothing more can be put.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[tuple[T, int]] = deque()
        self._cost = 0
        self._closed = False
        self._changed = Condition()

    def put(self, item: T, cost: int = 1) -> bool:
        """True once the item is inside; False if the channel is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._cost < self._capacity)
            if self._closed:
                return False
            self._items.append((item, cost))
            self._cost += cost
            self._changed.notify_all()
            return True

    def take(self, at_most: int = 1) -> list[T]:
        """The next items: waits for the first, takes what else is there; empty once closed and drained."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            taken = [self._items.popleft() for _ in range(min(at_most, len(self._items)))]
            self._cost -= sum(cost for _, cost in taken)
            self._changed.notify_all()
            return [item for item, _ in taken]

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
