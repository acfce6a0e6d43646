"""What happens to a service and its jobs, told to whoever listens: the log, the summary, metrics, ..."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sampoll.core.errors import JobError, SampollError
from sampoll.core.jobs import Submission
from sampoll.core.results import ModelInfo


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many jobs wait, by why they wait; and for how long the oldest of the ready ones has been there."""

    ready: int = 0
    settling: int = 0
    half: int = 0
    deferred: int = 0
    oldest_ready_seconds: float = 0.0


class Events:
    """Each method is called once something has happened for good. A listener overrides what it needs.

    Calls come from several threads, one at a time for each method of a transport.
    """

    def working(self, model: ModelInfo) -> None:
        """The model is loaded, and the service takes jobs."""

    def paused(self, trouble: SampollError) -> None:
        """The service takes no jobs until the trouble is over."""

    def resumed(self) -> None:
        """The trouble is over, with the model still loaded, if it was."""

    def stopping(self) -> None:
        """Somebody has asked for the end."""

    def watching(self, is_up: bool) -> None:
        """Events of the system are heard, or no more."""

    def overflowed(self) -> None:
        """Events of the system were lost, because too many came at once."""

    def backlog(self, backlog: Backlog) -> None:
        """The input was looked through."""

    def begun(self, submission: Submission) -> None:
        """`submission` is about to be tried."""

    def batched(self, images: int, known: int) -> None:
        """So many images went through the model at once; the embeddings of `known` were there already."""

    def timed(self, seconds: Mapping[str, float]) -> None:
        """A job has its result, after so many seconds in each stage."""

    def delivered(self, name: str, job_id: str, stem: str) -> None:
        """The results of `name` are published under `stem`."""

    def skipped(self, name: str, job_id: str, stem: str) -> None:
        """`name` was done before: its results are published under `stem`."""

    def failed(self, name: str, job_id: str, error: JobError) -> None:
        """`name` failed for good."""

    def deferred(self, name: str, job_id: str, error: JobError, delay_seconds: float) -> None:
        """`name` will be tried again in about `delay_seconds`."""


NOBODY = Events()
"""Hears everything, and does nothing."""


class Broadcast(Events):
    """Passes everything on to several listeners, in order."""

    def __init__(self, listeners: Sequence[Events]) -> None:
        self._listeners = tuple(listeners)

    def working(self, model: ModelInfo) -> None:
        for listener in self._listeners:
            listener.working(model)

    def paused(self, trouble: SampollError) -> None:
        for listener in self._listeners:
            listener.paused(trouble)

    def resumed(self) -> None:
        for listener in self._listeners:
            listener.resumed()

    def stopping(self) -> None:
        for listener in self._listeners:
            listener.stopping()

    def watching(self, is_up: bool) -> None:
        for listener in self._listeners:
            listener.watching(is_up)

    def overflowed(self) -> None:
        for listener in self._listeners:
            listener.overflowed()

    def backlog(self, backlog: Backlog) -> None:
        for listener in self._listeners:
            listener.backlog(backlog)

    def begun(self, submission: Submission) -> None:
        for listener in self._listeners:
            listener.begun(submission)

    def batched(self, images: int, known: int) -> None:
        for listener in self._listeners:
            listener.batched(images, known)

    def timed(self, seconds: Mapping[str, float]) -> None:
        for listener in self._listeners:
            listener.timed(seconds)

    def delivered(self, name: str, job_id: str, stem: str) -> None:
        for listener in self._listeners:
            listener.delivered(name, job_id, stem)

    def skipped(self, name: str, job_id: str, stem: str) -> None:
        for listener in self._listeners:
            listener.skipped(name, job_id, stem)

    def failed(self, name: str, job_id: str, error: JobError) -> None:
        for listener in self._listeners:
            listener.failed(name, job_id, error)

    def deferred(self, name: str, job_id: str, error: JobError, delay_seconds: float) -> None:
        for listener in self._listeners:
            listener.deferred(name, job_id, error, delay_seconds)
