"""Which actor works on which jobs, what it tells, and which jobs are suspected of having ended one; pure.

Ray gives the rows of an actor that has died to another one, again and again. A job that was in flight there
runs alone, and each death of an actor that had it alone is a strike against it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sampoll.app.workers.verdict import CRASH_BUDGET
from sampoll.core.errors import SampollError, StorageTrouble

SILENT_SECONDS = 15.0
"""An actor that has told nothing for so long has died: each tells something every second."""


@dataclass(frozen=True)
class Place:
    """The cores that an actor uses: part `index` of `count` parts of those of its host."""

    index: int
    count: int


@dataclass(frozen=True)
class Offer:
    """What is known about jobs that an actor is given, by their stems: those that have ended, and the strikes
    of those that are suspected, 0 for one that was not in flight alone."""

    ended: frozenset[str]
    strikes: Mapping[str, int]


@dataclass(frozen=True)
class News:
    """What actors have told since it was last asked for. `error` is what ends the run; `working` is how many
    actors there are that may still have jobs in flight."""

    messages: Sequence[Any]
    error: SampollError | None
    working: int


@dataclass(frozen=True)
class ActorDied:
    """An actor has died, which had so many jobs in flight."""

    in_flight: int


@dataclass
class _Actor:
    """One process of an actor; the next process has another number."""

    in_flight: frozenset[str] = frozenset()
    heard_at: float = 0.0


@dataclass
class Attempts:
    """For a run with so many `actors`, `actors_per_host` of them on one host."""

    actors: int
    actors_per_host: int
    is_stopping: bool = False
    _working: dict[str, _Actor] = field(default_factory=dict)
    _strikes: dict[str, int] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    _places: dict[str, list[str]] = field(default_factory=dict)
    _messages: list[Any] = field(default_factory=list)
    _starts: int = 0
    _crashes_in_a_row: int = 0
    _error: SampollError | None = None

    # What actors ask and tell. `process` is the number of the actor's process.

    def join(self, process: str, actor: str, host: str, now: float) -> Place:
        """An actor has started, for the first time or again."""
        self._working[process] = _Actor(heard_at=now)
        self._starts += 1
        if self._starts > self.actors:
            self._crashes_in_a_row += 1
        if self._crashes_in_a_row > CRASH_BUDGET * self.actors:
            self._end(
                StorageTrouble(
                    f"actors have died {self._crashes_in_a_row} times, and no image has ended in between: "
                    "see the logs of Ray, and dmesg for a lack of memory"
                )
            )
        here = self._places.setdefault(host, [])
        if actor not in here:
            here.append(actor)
        return Place(here.index(actor) % self.actors_per_host, self.actors_per_host)

    def offered(self, process: str, stems: Collection[str]) -> Offer:
        """What is known about jobs that `process` is given: whatever other process has them has died."""
        given = frozenset(stems)
        for other, actor in list(self._working.items()):
            if other != process and not given.isdisjoint(actor.in_flight):
                self._charge(other)
        strikes = {stem: self._strikes[stem] for stem in given if stem in self._strikes}
        return Offer(given & self._ended, strikes)

    def note(self, process: str, in_flight: Collection[str]) -> None:
        """These are in flight from now on."""
        actor = self._working.setdefault(process, _Actor())
        actor.in_flight = frozenset(in_flight) - self._ended

    def tell(self, process: str, messages: Sequence[Any], ended: Collection[str], now: float) -> bool:
        """Messages to the driver, and the jobs whose outcomes they are; returns whether to stop."""
        actor = self._working.setdefault(process, _Actor())
        actor.heard_at = now
        actor.in_flight = actor.in_flight - set(ended)
        self._ended.update(ended)
        for stem in ended:
            self._strikes.pop(stem, None)
        if ended:
            self._crashes_in_a_row = 0
        self._messages += messages
        return self.is_stopping

    def leave(self, process: str, error: SampollError | None = None) -> None:
        """The process ends by itself: no job is to blame. `error` ends the run."""
        self._working.pop(process, None)
        if error is not None:
            self._end(error)

    # What the driver asks

    def stop(self) -> None:
        """Each actor finishes the batch that runs, and begins nothing."""
        self.is_stopping = True

    def news(self, now: float) -> News:
        messages, self._messages = self._messages, []
        working = sum(now - actor.heard_at < SILENT_SECONDS for actor in self._working.values())
        return News(messages, self._error, working)

    def _end(self, error: SampollError) -> None:
        self._error = self._error or error
        self.is_stopping = True

    def _charge(self, process: str) -> None:
        """A process has died with its jobs."""
        in_flight = self._working.pop(process).in_flight
        self._messages.append(ActorDied(len(in_flight)))
        for stem in in_flight:
            self._strikes[stem] = self._strikes.get(stem, 0) + (len(in_flight) == 1)
