"""The rows of a run as jobs of the transport of batches, in an actor."""

import pickle
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event

from sampoll.transports.batch.remaining import BatchJob, FoundJob, NoJob
from sampoll.transports.batch.work import Work


@dataclass(frozen=True)
class Row:
    """A job on its way to an actor. `strikes` are those of earlier runs, None for a job that is not
    suspected."""

    work: Work
    has_report: bool
    strikes: int | None

    def packed(self) -> bytes:
        return pickle.dumps(self)


def unpacked(content: bytes) -> Row:
    row: Row = pickle.loads(content)
    return row


class RowJobs:
    """The jobs that were put here, as a source of a transport; thread-safe. It ends with `stop`."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._jobs: SimpleQueue[BatchJob] = SimpleQueue()

    def put(self, jobs: Collection[BatchJob]) -> None:
        for job in jobs:
            self._jobs.put(job)

    def found(self, waiting: Callable[[], int]) -> Iterator[FoundJob]:
        while not self._stop.is_set():
            try:
                yield self._jobs.get_nowait()
            except Empty:
                yield NoJob.NOTHING_YET
