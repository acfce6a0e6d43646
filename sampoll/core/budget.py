"""A number of bytes that the stages of a pipeline share: reserved before they are used."""

from collections import Counter
from collections.abc import Mapping
from threading import Condition


class Budget:
    """A limit for bytes of memory. A stage reserves what it is going to use, and waits until there is room.

    `shares` are the stages in their order, each with the most that it may have, so that an earlier one leaves
    something to those after it. What does not fit at all is granted alone: when neither the stage itself nor
    any after it has something reserved. So a stage waits for itself and for later stages, never for an
    earlier one, and stages that pass things on in this order cannot block each other. What is reserved can
    exceed the capacity by one such reservation of each stage.
    """

    def __init__(self, capacity: int, shares: Mapping[str, int]) -> None:
        self._capacity = capacity
        self._shares = shares
        self._order = list(shares)
        self._reserved: Counter[str] = Counter()
        self._closed: set[str] = set()
        self._changed = Condition()

    def reserve(self, stage: str, amount: int, *, waits: bool = True) -> "Reservation | None":
        """Returns the reservation once there is room; None if the stage is closed, or if there is no room now
        and `waits` is false."""
        with self._changed:
            if waits:
                self._changed.wait_for(lambda: stage in self._closed or self._has_room(stage, amount))
            if stage in self._closed or not self._has_room(stage, amount):
                return None
            self._reserved[stage] += amount
            return Reservation(self, stage, amount)

    def _has_room(self, stage: str, amount: int) -> bool:
        own, total = self._reserved[stage] + amount, self._reserved.total() + amount
        is_alone = not any(self._reserved[each] for each in self._order[self._order.index(stage) :])
        return is_alone or (own <= self._shares[stage] and total <= self._capacity)

    def close(self, stage: str) -> None:
        """Lets the stage reserve nothing more, and wakes its waiting threads."""
        with self._changed:
            self._closed.add(stage)
            self._changed.notify_all()

    def give_back(self, stage: str, amount: int) -> None:
        with self._changed:
            self._reserved[stage] -= amount
            self._changed.notify_all()

    @property
    def reserved(self) -> int:
        return self._reserved.total()


class Reservation:
    """Bytes of a budget that one holder may use. Only one thread at a time may change it."""

    def __init__(self, budget: Budget, stage: str, amount: int) -> None:
        self._budget = budget
        self._stage = stage
        self.amount = amount

    def shrink(self, amount: int) -> None:
        """Gives back all but `amount`, if it is more."""
        if amount < self.amount:
            self._budget.give_back(self._stage, self.amount - amount)
            self.amount = amount

    def release(self) -> None:
        """Gives back everything; a second call does nothing."""
        self.shrink(0)
