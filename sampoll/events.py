"""What happens to jobs, told to whoever listens: the log, the progress bar, the summary."""

from collections.abc import Sequence
from dataclasses import dataclass

from sampoll.errors import JobError
from sampoll.jobs import Submission


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many jobs wait, by why they wait."""

    ready: int = 0
    settling: int = 0
    half: int = 0
    deferred: int = 0


class Events:
    """Each method is called once something has happened for good. A listener overrides what it needs.

    Calls come from several threads, one at a time for each method of a transport.
    """

    def backlog(self, backlog: Backlog) -> None:
        """The input was looked through."""

    def begun(self, submission: Submission) -> None:
        """`submission` is about to be tried."""

    def delivered(self, name: str, job_id: str, stem: str) -> None:
        """The results of `name` are published under `stem`."""

    def skipped(self, name: str, job_id: str, stem: str) -> None:
        """`name` was done before: its results are published under `stem`."""

    def failed(self, name: str, job_id: str, error: JobError) -> None:
        """`name` failed for good."""

    def deferred(self, name: str, job_id: str, error: JobError, delay_seconds: float) -> None:
        """`name` will be tried again in about `delay_seconds`."""


class Broadcast(Events):
    """Passes everything on to several listeners, in order."""

    def __init__(self, listeners: Sequence[Events]) -> None:
        self._listeners = tuple(listeners)

    def backlog(self, backlog: Backlog) -> None:
        for listener in self._listeners:
            listener.backlog(backlog)

    def begun(self, submission: Submission) -> None:
        for listener in self._listeners:
            listener.begun(submission)

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
