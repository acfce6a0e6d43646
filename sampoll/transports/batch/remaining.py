"""What is left to do of a source: what has neither a record nor a report of a failure in the output."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Protocol, TypeAlias

from sampoll.core.errors import CrashedRepeatedly
from sampoll.core.events import Backlog, EndedBefore, InputScanned, Listener, PassedOver
from sampoll.core.failures import Failure
from sampoll.core.names import base_name, printable
from sampoll.core.shards import WHOLE, Shard
from sampoll.transports.batch.begun import Begun
from sampoll.transports.batch.ledger import Ledger
from sampoll.transports.batch.work import FolderWork, Work, WorkSource

MAX_NAMED_HALVES = 5


@dataclass(frozen=True)
class WhichJobs:
    """Those of `shard`; `retries_failed`: also those that have failed in earlier runs. A job with which
    processes have ended `max_attempts` times fails."""

    shard: Shard = WHOLE
    retries_failed: bool = False
    max_attempts: int = 3


@dataclass
class BatchJob:
    """Work that has no outcome yet, and the failures of its earlier attempts. `has_report`: it has failed in
    an earlier run; `alone`: no other job may run beside it."""

    work: Work
    failures: list[Failure] = field(default_factory=list)
    attempts: int = 0
    has_report: bool = False
    alone: bool = False


class NoJob(Enum):
    """Why there is no job: at the END of a FOLDER the next one may have some, NOTHING_YET is to be waited
    for."""

    FOLDER_END = auto()
    NOTHING_YET = auto()


FoundJob: TypeAlias = BatchJob | NoJob


class JobSource(Protocol):
    """Where a transport has its jobs from."""

    def found(self, waiting: Callable[[], int]) -> Iterator[FoundJob]:
        """All jobs; `waiting` is how many of those that were found are not begun."""


def job_of(work: Work, strikes: int | None, max_attempts: int, *, has_report: bool) -> BatchJob:
    """The job of `work`, which was in flight when processes ended, `strikes` times alone; None if it was not.
    After `max_attempts` it fails."""
    if strikes is not None and strikes >= max_attempts:
        died = f"the process died {strikes} times while it worked on this image alone"
        work = replace(work, error=CrashedRepeatedly(died))
    return BatchJob(work, has_report=has_report, alone=strikes is not None)


class Remaining:
    """The jobs of a source that have not ended, compared folder by folder."""

    def __init__(
        self,
        source: WorkSource,
        ledger: Ledger,
        begun: Begun,
        emit: Listener,
        which: WhichJobs,
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._begun = begun
        self._emit = emit
        self._which = which
        self._backlog = Counter[str]()
        self.is_empty = True
        """Whether nothing was found in the source, as far as it was looked through."""
        self.first_halves: list[str] = []
        """Images without a prompt, and prompts without an image: the paths of some, without extensions."""

    def found(self, waiting: Callable[[], int]) -> Iterator[FoundJob]:
        self._begun.recover()
        for found in self._source.found():
            if isinstance(found, PassedOver):
                self._backlog["passed_over"] += 1
                self._emit(found)
            else:
                yield from self._jobs_in(found, waiting)
            yield NoJob.FOLDER_END
        self._emit_backlog(waiting)

    def _jobs_in(self, found: FolderWork, waiting: Callable[[], int]) -> Iterator[BatchJob]:
        self.is_empty = self.is_empty and not (found.work or found.halves)
        halves = list(filter(self._which.shard.has, found.halves))
        self._backlog["half"] += len(halves)
        self.first_halves += halves[: MAX_NAMED_HALVES - len(self.first_halves)]
        own = [work for work in found.work if self._which.shard.has(work.stem)]
        if not own:
            return
        left = self._left_of(found.folder, own)
        self._backlog["ready"] += len(left)
        self._emit_backlog(waiting)
        for job in left:
            self._backlog["ready"] -= 1
            yield job

    def _left_of(self, folder: str, own: Collection[Work]) -> list[BatchJob]:
        """The jobs among the work in a folder that are to be done; tells how many are not."""
        ended = self._ledger.ended_in(folder)
        left: list[BatchJob] = []
        done = failed = 0
        for work in own:
            name = base_name(work.name)
            has_report = printable(name) in ended.failed
            if name in ended.done:
                done += 1
                if has_report:  # it was retried, by a process that was killed between the two
                    self._ledger.forget_failure(work.name)
            elif has_report and not self._which.retries_failed:
                failed += 1
            else:
                strikes = self._begun.strikes.get(work.stem)
                left.append(job_of(work, strikes, self._which.max_attempts, has_report=has_report))
        self._emit(EndedBefore(done, failed))
        return left

    def _emit_backlog(self, waiting: Callable[[], int]) -> None:
        counts = self._backlog
        ready = counts["ready"] + waiting()
        self._emit(InputScanned(Backlog(ready, half=counts["half"], passed_over=counts["passed_over"])))
