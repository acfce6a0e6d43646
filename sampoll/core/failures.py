"""Jobs that have failed for good, in the same shape wherever they are kept."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Failure:
    """One error that a job met. `at` is wall time in seconds since the epoch, for people only; `sha256` has
    the digests of the files by name, if the failure was final."""

    code: str
    message: str
    at: float
    file: str | None = None
    field: str | None = None
    sha256: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def local_time(self) -> str:
        """`at` as people read it."""
        return datetime.fromtimestamp(self.at).strftime("%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True)
class FailedJob:
    """A job that has failed for good. `name` is what its sender called it, as people may see it; `failures`
    are in order, the last one being final."""

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
    failed, None where that is not known."""

    place: str
    size: int
    is_changed: bool | None = None


J = TypeVar("J", bound=FailedJob)


class FailedJobs(Protocol[J]):
    """A place where failed jobs are kept."""

    @property
    def retried_by(self) -> str:
        """Who tries again what is put back: for people."""

    def jobs(self) -> Iterator[J]:
        """All of them."""

    def place_of(self, job: J) -> str:
        """Where one is kept: for people."""

    def identity_of(self, job: J) -> Mapping[str, object]:
        """What finds one again: for programs, as JSON has it."""

    def files_of(self, job: J) -> Iterator[KeptFile]:
        """What is kept of one."""

    def retry(self, job: J) -> bool:
        """Puts one back to be tried again, with its history; False if another process has taken it."""

    def purge(self, job: J) -> int:
        """Deletes one for good; the number of bytes that it took."""
