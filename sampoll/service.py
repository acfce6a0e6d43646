"""reader -> executor -> writer: submissions in, artifacts out, until there are no more or `stop` is set.

Each stage is one thread, the executor's being the caller's. Whatever one stage raises closes both channels,
so that the others come to rest, and is raised again from `run`; the transport then hands back what was in
flight when it is closed.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Condition, Event, Thread
from typing import Any, TypeAlias

from sampoll.channel import Channel
from sampoll.errors import JobError, OutputFailed
from sampoll.executor import Executor, Outcome
from sampoll.interfaces import Format, Segmenter, Transport
from sampoll.jobs import Job, Submission
from sampoll.results import Artifact, Delivery, Segmentation

log = logging.getLogger(__name__)

Decode: TypeAlias = Callable[[Submission], Job]
"""Raises JobError for a submission that cannot become a job."""

DECODED_BYTES = 512 * 2**20
"""Decoded images that may wait for the executor; one always may."""
OUTCOMES = 64
"""Outcomes that may wait for the writer."""


@dataclass(frozen=True)
class Service:
    """Moves every submission of `transport` to a delivery or a rejection."""

    transport: Transport
    decode: Decode
    segmenter: Segmenter[Any]
    formats: Sequence[Format]
    batch_size: int

    def run(self, stop: Event) -> None:
        """Returns when the transport has no more; after `stop`, when the running batch is delivered."""
        _Run(self, stop).run()


class _Run:
    """One call of Service.run: its channels, its threads, and the first thing that went wrong."""

    def __init__(self, service: Service, stop: Event) -> None:
        self._service = service
        self._transport = service.transport
        self._stop = stop
        self._decoded: Channel[tuple[Submission, Job]] = Channel(DECODED_BYTES)
        self._outcomes: Channel[tuple[Submission, Outcome]] = Channel(OUTCOMES)
        self._in_flight = _InFlight()
        self._trouble: BaseException | None = None

    def run(self) -> None:
        reader = Thread(target=self._guarded, args=(self._read, self._decoded), name="reader")
        writer = Thread(target=self._guarded, args=(self._write, self._outcomes), name="writer")
        reader.start()
        writer.start()
        self._guarded(self._execute, self._outcomes)
        writer.join()
        reader.join()
        if self._trouble is not None:
            raise self._trouble

    def _guarded(self, stage: Callable[[], None], downstream: Channel[Any]) -> None:
        """Runs a stage; closes what it feeds, or everything if it raised."""
        try:
            stage()
        except BaseException as error:  # noqa: BLE001  raised again by run(), in the caller's thread
            if self._trouble is None:
                self._trouble = error
            self._stop.set()
            self._decoded.close()
            self._outcomes.close()
            self._in_flight.abandon()
        finally:
            downstream.close()

    def _read(self) -> None:
        for group in self._transport.submissions(self._stop):
            alone = any(submission.alone for submission in group)
            if alone:
                self._in_flight.wait_until_none()
            self._in_flight.enter(len(group))
            self._transport.begin(group)
            if not all(self._decode(submission) for submission in group):
                return
            if alone:
                self._in_flight.wait_until_none()

    def _decode(self, submission: Submission) -> bool:
        """False when the stage after this one is gone."""
        try:
            job = self._service.decode(submission)
        except JobError as error:
            return self._outcomes.put((submission, error))
        return self._decoded.put((submission, job), cost=job.image.nbytes)

    def _execute(self) -> None:
        executor = Executor(self._service.segmenter)
        while batch := self._decoded.take(self._service.batch_size):
            if self._stop.is_set():
                self._decoded.close()
                self._in_flight.abandon()
                return
            outcomes = executor.run([job for _, job in batch])
            for (submission, _), outcome in zip(batch, outcomes, strict=True):
                self._outcomes.put((submission, outcome))

    def _write(self) -> None:
        while taken := self._outcomes.take(OUTCOMES):
            deliveries = []
            for submission, outcome in taken:
                try:
                    deliveries.append(self._delivery(submission, outcome))
                except JobError as error:
                    self._transport.reject(submission, error)
            if deliveries:
                self._transport.deliver(deliveries)
            self._in_flight.leave(len(taken))

    def _delivery(self, submission: Submission, outcome: Outcome) -> Delivery:
        """What is to be published; raises the JobError that the outcome is, or that rendering meets."""
        if isinstance(outcome, JobError):
            raise outcome
        formats = self._service.formats
        suffixes = [suffix for form in formats for suffix in form.suffixes(outcome)]
        stem = self._transport.reserve(submission, suffixes)
        return Delivery(submission, _rendered(formats, replace(outcome, name=stem)))


def _rendered(formats: Sequence[Format], segmentation: Segmentation) -> tuple[Artifact, ...]:
    """The files of every format, in order; OutputFailed if one cannot be made."""
    artifacts: list[Artifact] = []
    for form in formats:
        try:
            artifacts.extend(form.render(segmentation, tuple(artifacts)))
        except Exception as error:
            raise OutputFailed(f"no output could be made: {type(error).__name__}: {error}") from error
    return tuple(artifacts)


class _InFlight:
    """How many submissions were begun and have no outcome yet."""

    def __init__(self) -> None:
        self._count = 0
        self._abandoned = False
        self._changed = Condition()

    def enter(self, count: int) -> None:
        with self._changed:
            self._count += count

    def leave(self, count: int) -> None:
        with self._changed:
            self._count -= count
            self._changed.notify_all()

    def abandon(self) -> None:
        """Nobody needs to wait any more: the run is ending."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def wait_until_none(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0 or self._abandoned)
