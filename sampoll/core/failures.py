"""Jobs that failed permanently, in the same form whether a directory or a Redis stream keeps them."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Failure:
    """One error of a job. `at` is wall-clock time in seconds since the epoch, for display only; `sha256` maps
    file names to digests, if the failure was final."""

    code: str
    message: str
    at: float
    file: str | None = None
    field: str | None = None
    sha256: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def local_time(self) -> str:
        """`at` as a local date and time."""
        return datetime.fromtimestamp(self.at).strftime("%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True)
class FailedJob:
    """A job that failed permanently. `name` is the name that its sender gave it, made printable; `failures`
    are in order, and the last one is final."""

    name: str
    job_id: str
    attempts: int
    failures: tuple[Failure, ...]

    @property
    def last_failure(self) -> Failure:
        return self.failures[-1]


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of a failed job: where it is kept, its size in bytes, and whether it has changed since the job
    failed (None if unknown)."""

    place: str
    size: int
    is_changed: bool | None = None


J = TypeVar("J", bound=FailedJob)


class FailedJobs(Protocol[J]):
    """A place where failed jobs are kept."""

    @property
    def retried_by(self) -> str:
        """The process that will retry returned jobs, as text for messages."""

    def jobs(self) -> Iterator[J]:
        """All failed jobs."""

    def place_of(self, job: J) -> str:
        """Where the job is kept, as text for messages."""

    def identity_of(self, job: J) -> Mapping[str, object]:
        """The identifiers of the job for programs, as JSON values."""

    def files_of(self, job: J) -> Iterator[KeptFile]:
        """The files that are kept for the job."""

    def retry(self, job: J) -> bool:
        """Schedules the job for a retry and keeps its history; False if another process has taken it."""

    def purge(self, job: J) -> int:
        """Deletes the job permanently; returns its size in bytes."""
