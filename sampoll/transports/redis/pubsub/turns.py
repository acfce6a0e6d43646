"""The order of replies to clients that know a reply by its place alone."""

from collections import OrderedDict
from collections.abc import Iterator
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Gives out replies in the order in which their requests came.

    Each message gets a number when it comes. A reply is held until every earlier message is settled: its own
    reply was given out, or no reply has to wait for it. Numbers may be taken and settled by any thread.
    """

    def __init__(self) -> None:
        self.held_bytes = 0
        self._next = 0
        self._unsettled: OrderedDict[int, None] = OrderedDict()
        self._held: dict[int, tuple[T, int]] = {}
        self._lock = Lock()

    def take(self) -> int:
        """The number of a message that has just come."""
        with self._lock:
            number = self._next
            self._next += 1
            self._unsettled[number] = None
        return number

    def settle(self, number: int) -> None:
        """From now on, no reply waits for this message."""
        with self._lock:
            self._unsettled.pop(number, None)

    def hold(self, number: int, reply: T, size_bytes: int) -> None:
        """Keeps the reply to this message until it is its turn."""
        with self._lock:
            self._held[number] = reply, size_bytes
            self.held_bytes += size_bytes

    def due(self) -> Iterator[T]:
        """The held replies whose turn it is, which are then settled."""
        while (reply := self._due()) is not None:
            yield reply

    def rest(self) -> Iterator[T]:
        """All held replies in their order, whatever they wait for."""
        with self._lock:
            for number in self._unsettled.keys() - self._held.keys():
                del self._unsettled[number]
        return self.due()

    def __len__(self) -> int:
        """How many replies are held."""
        return len(self._held)

    def _due(self) -> T | None:
        with self._lock:
            number = next(iter(self._unsettled), -1)
            if number not in self._held:
                return None
            del self._unsettled[number]
            reply, size_bytes = self._held.pop(number)
            self.held_bytes -= size_bytes
        return reply
