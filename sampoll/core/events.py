"""Events of a service and its jobs. An event is a value, emitted once something has definitely happened; the
log, the summary, the metrics and so on are listeners, which are independent of each other.

Events are emitted from several threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sampoll.core.errors import JobError, SampollError
from sampoll.core.memory import StageMemory
from sampoll.core.result_summary import NO_SUMMARY, ModelInfo, ResultSummary

if TYPE_CHECKING:
    from sampoll.core.jobs import Submission  # which needs numpy


@dataclass(frozen=True, slots=True)
class Backlog:
    """The number of waiting jobs by the reason why they wait, the age of the oldest ready job, and the number
    of paths that are passed over."""

    ready: int = 0
    settling: int = 0
    half: int = 0
    deferred: int = 0
    oldest_ready_seconds: float = 0.0
    passed_over: int = 0


# Events of the service


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """The model is loaded, and the service takes jobs."""

    model: ModelInfo


@dataclass(frozen=True, slots=True)
class MemoryBudgeted:
    """What the stages of the service may hold in memory from now on."""

    stages: tuple[StageMemory, ...]


@dataclass(frozen=True, slots=True)
class Paused:
    """The service takes no jobs until the cause of `error` is gone. `returns_jobs`: those in flight are back
    at their source, and end here without an outcome."""

    error: SampollError
    returns_jobs: bool = False


@dataclass(frozen=True, slots=True)
class Resumed:
    """The cause of a pause is gone."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A stop was requested."""


@dataclass(frozen=True, slots=True)
class WatchChecked:
    """The file watch was checked: `is_up` if the operating system's events for new files arrive."""

    is_up: bool


@dataclass(frozen=True, slots=True)
class WatchOverflowed:
    """Events of new files were lost, because too many came at once."""


@dataclass(frozen=True, slots=True)
class InputScanned:
    """The input was scanned."""

    backlog: Backlog


@dataclass(frozen=True, slots=True)
class EndedBefore:
    """A part of the input was compared with the output: so many of its jobs had a result there, and so many
    had failed; they are not begun."""

    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A part of the input cannot be read or moved, and is passed over; `path` is that of a pair, of a file,
    of a folder with a slash at its end, or of all pairs in a folder: "sub/*"."""

    path: str
    error: JobError


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """The model is about to process these jobs; those begun before and not among them still wait for it."""

    job_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchDone:
    """The model processed a batch of `images` images; the embeddings of `known` of them were cached."""

    images: int
    known: int


@dataclass(frozen=True, slots=True)
class Progressed:
    """Work on the jobs in flight goes on, though none of them is finished yet: a part of their masks was made
    or rendered."""


# Events of a job. `name` is the name that its sender gave it.


@dataclass(frozen=True, slots=True)
class JobStarted:
    """The next attempt at `submission` is about to start."""

    submission: "Submission"


@dataclass(frozen=True, slots=True)
class JobDone:
    """The result is published; `result` is the path of its files below the output, without their suffixes."""

    name: str
    job_id: str
    result: str
    summary: ResultSummary = NO_SUMMARY


@dataclass(frozen=True, slots=True)
class JobSkipped:
    """The job was skipped, because its result is already published as `result`."""

    name: str
    job_id: str
    result: str
    summary: ResultSummary = NO_SUMMARY


@dataclass(frozen=True, slots=True)
class JobFailed:
    """The job failed and will not be retried."""

    name: str
    job_id: str
    error: JobError


@dataclass(frozen=True, slots=True)
class JobDeferred:
    """The job failed and will be retried in about `delay_seconds`."""

    name: str
    job_id: str
    error: JobError
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class JobLost:
    """Another process has taken the job over, and its result counts; it ends here without an outcome."""

    name: str
    job_id: str


ServiceEvent: TypeAlias = (
    ModelLoaded
    | MemoryBudgeted
    | Paused
    | Resumed
    | StopRequested
    | WatchChecked
    | WatchOverflowed
    | InputScanned
    | EndedBefore
    | PassedOver
    | BatchStarted
    | BatchDone
    | Progressed
)
JobEvent: TypeAlias = JobStarted | JobDone | JobSkipped | JobFailed | JobDeferred | JobLost
Event: TypeAlias = ServiceEvent | JobEvent

Listener: TypeAlias = Callable[[Event], None]
"""A callback that receives each event, and ignores those that it does not need."""


def ignore_events(event: Event) -> None:
    """A listener that does nothing."""


def broadcast(listeners: Sequence[Listener]) -> Listener:
    """One listener that passes each event on to all of these, in order."""
    everyone = tuple(listeners)

    def pass_on(event: Event) -> None:
        for listener in everyone:
            listener(event)

    return pass_on
