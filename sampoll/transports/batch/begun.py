"""Jobs that were begun by processes that have died: an image may be what has ended them.

Each process keeps a file in the output that names the jobs which it has in flight, and removes it at its
end. A process that finds such a file takes it over if all of its jobs are its own, as they are after a
restart with the same shard. Jobs that were in flight then run alone; a process that died with one job alone
is a strike against that job.
"""

import json
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Protocol

from sampoll.core.errors import SampollError
from sampoll.core.shards import Shard
from sampoll.files.stores.store import Store
from sampoll.transports.batch.ledger import OWN_FOLDER, needed_in

BEGUN_FOLDER = f"{OWN_FOLDER}/begun"


class BegunJobs(Protocol):
    """Where a process notes which jobs it has in flight, by their stems."""

    def note(self, in_flight: Collection[str]) -> None:
        """These are in flight from now on; returns once that is kept, whatever happens to this process."""

    def note_stopping(self) -> None:
        """A stop was requested: if the process is killed from now on, no job is charged for it."""

    def forget(self, stem: str) -> None:
        """A job has ended: it is suspected no more."""

    def close(self) -> None:
        """The process ends: nothing in flight has ended it."""


class Begun:
    """The file of this process, and the `strikes` of jobs that others have left, by their stems: 0 for one
    that was not in flight alone."""

    def __init__(self, store: Store, shard: Shard) -> None:
        self._store = store
        self._shard = shard
        self._path = f"{BEGUN_FOLDER}/{uuid.uuid4().hex}.json"
        self._is_written = False
        self.strikes: dict[str, int] = {}

    def recover(self) -> None:
        """Takes over what processes have left that had only jobs of this shard."""
        with needed_in(self._store):
            taken = [path for path in self._left() if self._is_taken(path)]
            if self.strikes:
                self.note(())
            for path in taken:
                self._store.delete(path)

    def _left(self) -> list[str]:
        return [f"{BEGUN_FOLDER}/{name}" for name in self._store.listing(BEGUN_FOLDER).files]

    def _is_taken(self, path: str) -> bool:
        """Adds the strikes in a file, if it has jobs of this shard only."""
        try:
            left = _strikes_in(self._store.read(path))
        except FileNotFoundError:  # its process has just ended
            return False
        if left is None or not all(map(self._shard.has, left)):
            return False
        for stem, strikes in left.items():
            self.strikes[stem] = max(strikes, self.strikes.get(stem, 0))
        return True

    def note(self, in_flight: Collection[str]) -> None:
        """Writes which jobs are in flight from now on."""
        document = {"in_flight": sorted(in_flight), "strikes": dict(self.strikes)}
        with needed_in(self._store):
            self._store.replace(self._path, json.dumps(document).encode("ascii"), durable=False)
        self._is_written = True

    def note_stopping(self) -> None:
        """A stop was requested: if the process is killed from now on, no job is charged for it."""
        if self._is_written:
            self.note(())

    def forget(self, stem: str) -> None:
        """A job has ended: it is suspected no more."""
        self.strikes.pop(stem, None)

    def close(self) -> None:
        """Removes the file, unless jobs are still suspected: nothing in flight now has ended a process."""
        with suppress(SampollError, OSError):  # the store may be what has ended the run
            if self.strikes:
                self.note(())
            elif self._is_written:
                self._store.delete(self._path)


def _strikes_in(content: bytes) -> Mapping[str, int] | None:
    """The strikes of the jobs in a file of another process, which has died with them; None if it is no such
    file."""
    try:
        document: Any = json.loads(content)
        in_flight, strikes = [str(stem) for stem in document["in_flight"]], dict(document["strikes"])
        if not all(type(count) is int for count in strikes.values()):
            return None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    alone = len(in_flight) == 1
    return {**strikes, **{stem: strikes.get(stem, 0) + alone for stem in in_flight}}
