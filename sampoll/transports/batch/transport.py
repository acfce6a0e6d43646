"""Work of a source, results into an output; the output alone says what is done."""

import heapq
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Condition, Event

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import JobError, OutputFailed, TransientJobError
from sampoll.core.events import (
    JobDeferred,
    JobDone,
    JobFailed,
    JobSkipped,
    JobStarted,
    Listener,
)
from sampoll.core.failures import Failure
from sampoll.core.jobs import Exif, Submission, groups_of
from sampoll.core.memory import StageMemory
from sampoll.core.names import base_name, folder_of, result_path
from sampoll.core.protocols import STOP_POLL_SECONDS
from sampoll.core.results import Delivery
from sampoll.files.stores.store import Store
from sampoll.inputs.common_prompt import CommonPrompt
from sampoll.spool.state import JobState, retry_delay_seconds
from sampoll.transports.batch.begun import BegunJobs
from sampoll.transports.batch.identity import job_id_of
from sampoll.transports.batch.ledger import Ledger
from sampoll.transports.batch.reading import READ_AHEAD_BYTES, ReadAhead, Taken, read_submission
from sampoll.transports.batch.remaining import BatchJob, JobSource, NoJob


@dataclass(frozen=True)
class BatchOptions:
    """How work is read. `prompt` is for images that have none of their own; `limit` is how many jobs are
    begun at most."""

    limits: LimitSettings = field(default_factory=LimitSettings)
    exif: Exif = "apply"
    prompt: CommonPrompt | None = None
    max_attempts: int = 3
    limit: int | None = None
    transfers: int = 16


class BatchTransport:
    """Submissions are images in `files`, of the jobs that `source` finds; artifacts become files of the
    output behind `ledger`. `begun` is told which jobs are in flight."""

    def __init__(
        self,
        source: JobSource,
        files: Store,
        ledger: Ledger,
        begun: BegunJobs,
        options: BatchOptions,
        emit: Listener,
    ) -> None:
        self._ledger = ledger
        self._options = options
        self._emit = emit
        self._is_exhausted = False
        read = partial(
            read_submission, files, limits=options.limits, common=options.prompt, exif=options.exif
        )
        self._reading = ReadAhead(read, options.transfers)
        self._found = source.found(self._reading.__len__)
        self._begun = begun
        self._open: set[str] = set()
        """The stems of those that were begun and have not ended."""
        self._jobs: dict[str, BatchJob] = {}
        """By name: those that are read ahead or open."""
        self._retries: list[tuple[float, str]] = []
        """A heap of times, of the monotonic clock, and names."""
        self._changed = Condition()
        self._taken = 0

    # Transport

    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        while not stop.is_set():
            self._read_ahead(stop)
            if not len(self._reading):
                if self._is_over():
                    return
                self._wait()
                continue
            yield from groups_of(self._sound(self._reading.take(stop)))
        self._begun.note_stopping()

    def begin(self, submissions: Sequence[Submission]) -> None:
        with self._changed:
            self._open.update(self._jobs[submission.name].work.stem for submission in submissions)
            in_flight = tuple(self._open)
        self._begun.note(in_flight)
        for submission in submissions:
            self._jobs[submission.name].attempts += 1
            self._emit(JobStarted(submission))

    def reserve(self, submission: Submission, suffixes: Sequence[str]) -> str:
        self._ledger.reserve(submission.name, suffixes)
        return submission.name

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        began = time.perf_counter()
        results = [
            [(result_path(delivery.submission.name, a.suffix), a.content) for a in delivery.artifacts]
            for delivery in deliveries
        ]
        errors = self._ledger.publish(results)
        share_seconds = (time.perf_counter() - began) / len(deliveries)
        refused: list[tuple[Submission, OSError]] = []
        for delivery, error in zip(deliveries, errors, strict=True):
            submission, name = delivery.submission, delivery.submission.name
            match error:
                case None:
                    self._end(name)
                    summary = delivery.summary.published_in(share_seconds)
                    self._emit(JobDone(name, submission.id, name, summary))
                case FileExistsError():  # another process was faster
                    self._end(name)
                    self._emit(JobSkipped(name, submission.id, name))
                case _:
                    refused.append((submission, error))
        for submission, error in refused:  # last: their reports may not be written either
            reason = f"cannot be published: {error.filename}: {error.strerror}"
            self._fail(submission.name, submission.id, OutputFailed(reason))

    def reject(self, submission: Submission, error: JobError) -> None:
        self._fail(submission.name, submission.id, error)

    def close(self) -> None:
        """Nothing has to be handed back: what has no record is not done."""
        self._reading.close()
        self._begun.close()

    @property
    def held_memory(self) -> StageMemory:
        return StageMemory("files", READ_AHEAD_BYTES)

    def wake(self) -> None:
        """Looks for jobs at once: its source has new ones."""
        with self._changed:
            self._changed.notify_all()

    def has_work(self, stop: Event) -> bool:
        """Whether there is anything to do; if not, no model is needed."""
        while not stop.is_set() and not len(self._reading) and not self._is_exhausted:
            self._read_ahead(stop)
        return len(self._reading) > 0

    # What is read

    def _read_ahead(self, stop: Event) -> None:
        """Begins to read as much as there is room for; looks for it no longer than through one folder while
        something is read already."""
        while self._reading.has_room and not stop.is_set():
            if (again := self._due_retry()) is not None:
                self._reading.add(again.work)
                continue
            if self._is_exhausted or self._is_limit_reached:
                return
            try:
                job = next(self._found)
            except StopIteration:
                self._is_exhausted = True
                return
            if isinstance(job, BatchJob):
                self._taken += 1
                self._jobs[job.work.name] = job
                self._reading.add(job.work)
            elif job is NoJob.NOTHING_YET or len(self._reading):
                return

    def _sound(self, taken: Sequence[Taken]) -> list[Submission]:
        """The submissions among them; the others fail."""
        submissions = []
        for work, read in taken:
            if isinstance(read, JobError):
                self._fail(work.name, job_id_of(work.name), read)
            else:
                submissions.append(replace(read, alone=True) if self._jobs[work.name].alone else read)
        return submissions

    # What becomes of it

    def _end(self, name: str) -> None:
        with self._changed:
            job = self._jobs.pop(name)
            self._forget(job)
        if job.has_report:
            self._ledger.forget_failure(name)

    def _fail(self, name: str, job_id: str, error: JobError) -> None:
        job = self._jobs[name]
        job.attempts = max(job.attempts, len(job.failures) + 1)  # one that could not be read was not begun
        job.failures.append(Failure(error.code, str(error), time.time(), error.file, error.field))
        if isinstance(error, TransientJobError) and len(job.failures) < self._options.max_attempts:
            delay = retry_delay_seconds(len(job.failures), random.random())
            with self._changed:
                heapq.heappush(self._retries, (time.monotonic() + delay, name))
                self._open.discard(job.work.stem)
                self._changed.notify_all()
            self._emit(JobDeferred(name, job_id, error, delay))
            return
        self._ledger.note_failure(_reported(job, job_id))
        with self._changed:
            self._forget(self._jobs.pop(name))
        self._emit(JobFailed(name, job_id, error))

    def _forget(self, job: BatchJob) -> None:
        self._open.discard(job.work.stem)
        self._begun.forget(job.work.stem)
        self._changed.notify_all()

    def _due_retry(self) -> BatchJob | None:
        with self._changed:
            if self._retries and self._retries[0][0] <= time.monotonic():
                return self._jobs[heapq.heappop(self._retries)[1]]
        return None

    def _is_over(self) -> bool:
        return (self._is_exhausted or self._is_limit_reached) and not self._jobs

    @property
    def _is_limit_reached(self) -> bool:
        return self._options.limit is not None and self._taken >= self._options.limit

    def _wait(self) -> None:
        """Until a job ends or comes, or a retry is due."""
        with self._changed:
            if self._is_over():
                return
            due = self._retries[0][0] - time.monotonic() if self._retries else STOP_POLL_SECONDS
            self._changed.wait(max(0.0, min(due, STOP_POLL_SECONDS)))


def _reported(job: BatchJob, job_id: str) -> JobState:
    """The job as its report says it."""
    name = job.work.name
    return JobState(
        job_id,
        base_name(name),
        job.work.files,
        folder_of(name),
        attempts=job.attempts,
        rejected=True,
        failures=tuple(job.failures),
    )
