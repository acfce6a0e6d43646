"""What happens to a service and its jobs. An event is a value, emitted once something has happened for good;
the log, the summary, the metrics and so on are listeners, and none of them knows another.

Events come from several threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sampoll.core.errors import JobError, SampollError
from sampoll.core.jobs import Submission
from sampoll.core.results import NO_SUMMARY, ModelInfo, ResultSummary


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many jobs wait, by why they wait; and for how long the oldest of the ready ones has been there."""

    ready: int = 0
    settling: int = 0
    half: int = 0
    deferred: int = 0
    oldest_ready_seconds: float = 0.0


# What happens to the service


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """The model is loaded, and the service takes jobs."""

    model: ModelInfo


@dataclass(frozen=True, slots=True)
class Paused:
    """The service takes no jobs until the cause of `error` is gone."""

    error: SampollError


@dataclass(frozen=True, slots=True)
class Resumed:
    """The cause of a pause is gone."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A stop was requested."""


@dataclass(frozen=True, slots=True)
class WatchChecked:
    """Whether the operating system's events of new files arrive."""

    is_up: bool


@dataclass(frozen=True, slots=True)
class WatchOverflowed:
    """Events of new files were lost, because too many came at once."""


@dataclass(frozen=True, slots=True)
class InputScanned:
    """The input was looked through."""

    backlog: Backlog


@dataclass(frozen=True, slots=True)
class BatchDone:
    """So many images went through the model at once; the embeddings of `known` were there already."""

    images: int
    known: int


# What happens to a job. `name` is what its sender called it.


@dataclass(frozen=True, slots=True)
class JobStarted:
    """`submission` is about to be tried."""

    submission: Submission


@dataclass(frozen=True, slots=True)
class JobDone:
    """The result is published as `result`, the path of its files below the output without their suffixes."""

    name: str
    job_id: str
    result: str
    summary: ResultSummary = NO_SUMMARY


@dataclass(frozen=True, slots=True)
class JobSkipped:
    """The job was done before: its result is published as `result`."""

    name: str
    job_id: str
    result: str
    summary: ResultSummary = NO_SUMMARY


@dataclass(frozen=True, slots=True)
class JobFailed:
    """The job failed for good."""

    name: str
    job_id: str
    error: JobError


@dataclass(frozen=True, slots=True)
class JobDeferred:
    """The job will be tried again in about `delay_seconds`."""

    name: str
    job_id: str
    error: JobError
    delay_seconds: float


ServiceEvent: TypeAlias = (
    ModelLoaded | Paused | Resumed | StopRequested | WatchChecked | WatchOverflowed | InputScanned | BatchDone
)
JobEvent: TypeAlias = JobStarted | JobDone | JobSkipped | JobFailed | JobDeferred
Event: TypeAlias = ServiceEvent | JobEvent

Listener: TypeAlias = Callable[[Event], None]
"""Is called with each event; it passes over those that it does not need."""


def ignore_events(event: Event) -> None:
    """A listener that does nothing."""


def broadcast(listeners: Sequence[Listener]) -> Listener:
    """One listener that passes each event on to all of these, in order."""
    everyone = tuple(listeners)

    def pass_on(event: Event) -> None:
        for listener in everyone:
            listener(event)

    return pass_on
