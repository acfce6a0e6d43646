"""The attempts of a run in an actor of their own, beside the driver."""

import time
import uuid
from collections.abc import Collection, Sequence
from typing import Any, cast

from sampoll.app.ray.attempts import Attempts, News, Offer, Place
from sampoll.core.errors import SampollError


class Book:
    """The actor beside the driver that has the attempts."""

    def __init__(self, actors: int, actors_per_host: int) -> None:
        self._attempts = Attempts(actors, actors_per_host)

    def join(self, process: str, actor: str, host: str) -> Place:
        return self._attempts.join(process, actor, host, time.monotonic())

    def offered(self, process: str, stems: Collection[str]) -> Offer:
        return self._attempts.offered(process, stems)

    def note(self, process: str, in_flight: Collection[str]) -> None:
        self._attempts.note(process, in_flight)

    def tell(self, process: str, messages: Sequence[Any], ended: Collection[str]) -> bool:
        return self._attempts.tell(process, messages, ended, time.monotonic())

    def leave(self, process: str, error: SampollError | None) -> None:
        self._attempts.leave(process, error)

    def stop(self) -> None:
        self._attempts.stop()

    def news(self) -> News:
        return self._attempts.news(time.monotonic())


class BookOfThis:
    """The book, as the process of an actor writes in it; each call returns once it is written."""

    def __init__(self, book: Any) -> None:
        self._book = book
        self._process = uuid.uuid4().hex

    def join(self, actor: str, host: str) -> Place:
        return cast(Place, self._done("join", actor, host))

    def offered(self, stems: Collection[str]) -> Offer:
        return cast(Offer, self._done("offered", stems))

    def tell(self, messages: Sequence[Any], ended: Collection[str]) -> bool:
        return bool(self._done("tell", messages, ended))

    def leave(self, error: SampollError | None) -> None:
        self._done("leave", error)

    # As transports.batch.begun.BegunJobs

    def note(self, in_flight: Collection[str]) -> None:
        self._done("note", tuple(in_flight))

    def note_stopping(self) -> None:
        self.note(())

    def forget(self, stem: str) -> None:
        """Nothing: the outcome of the job is told."""

    def close(self) -> None:
        """Nothing: the actor leaves."""

    def _done(self, method: str, *arguments: Any) -> Any:
        import ray

        return ray.get(getattr(self._book, method).remote(self._process, *arguments))
