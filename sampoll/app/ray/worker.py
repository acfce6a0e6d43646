"""What an actor does: the ordinary service, over the rows that Ray gives it; the model is loaded once."""

import logging
import os
from collections.abc import Sequence
from contextlib import closing, suppress
from threading import Condition, Event, Thread
from typing import Any, cast

from sampoll.app.assembly import decoding_options, load_model, service_of
from sampoll.app.made_with import check_made_with, made_with, note_made_with
from sampoll.app.ray.book import BookOfThis
from sampoll.app.ray.order import Order, check_stores, check_version
from sampoll.app.ray.rows import RowJobs, unpacked
from sampoll.app.workers.messages import BegunJob, LogSender
from sampoll.core.errors import DeviceFailed, SampollError, as_value
from sampoll.core.events import Event as SampollEvent
from sampoll.core.events import JobDeferred, JobDone, JobFailed, JobSkipped, JobStarted, ModelLoaded
from sampoll.core.names import printable
from sampoll.engine.pipeline import Service
from sampoll.formats.registry import RECORD, load_format, load_formats
from sampoll.models.registry import find_factory
from sampoll.transports.batch.ledger import Ledger
from sampoll.transports.batch.remaining import BatchJob, job_of
from sampoll.transports.batch.transport import BatchTransport

SECONDS_BETWEEN_SIGNS = 1.0
"""How often an actor tells that it lives, and asks whether to stop."""
SECONDS_BETWEEN_MESSAGES = 0.02
LEFT = "left"
"""The outcome of a row that was not begun."""

log = logging.getLogger(__name__)


class Worker:
    """The service of one actor. An error that ends it ends the run, and is told to the driver by the book."""

    def __init__(self, order: Order, book: BookOfThis, host: str) -> None:
        self._book = book
        self._changed = Condition()
        self._stems: dict[str, str] = {}
        """By name: the stems of jobs that have no outcome yet."""
        self._outcomes: dict[str, str] = {}
        """By name: those that are told."""
        self._messages: list[Any] = []
        self._ended: list[tuple[str, str, str]] = []
        """The names, stems and outcomes of jobs whose events are in the messages."""
        self._stop = Event()
        self._is_over = False
        self._jobs = RowJobs(self._stop)
        self._max_attempts = order.options.max_attempts
        _send_log(self._send)
        try:
            service = self._prepared(order, host)
        except Exception as error:
            told = _as_told(error)
            self._flush()
            self._book.leave(told)
            raise
        Thread(target=self._tell, name="tell", daemon=True).start()
        Thread(target=self._run, args=(service,), name="service", daemon=True).start()

    def done(self, packed_rows: Sequence[bytes]) -> list[tuple[str, str]]:
        """The names and outcomes of rows, once all have one."""
        rows = [unpacked(content) for content in packed_rows]
        offer = self._book.offered([row.work.stem for row in rows])
        jobs: list[BatchJob] = []
        for row in rows:
            stem = row.work.stem
            if stem not in offer.ended:
                known = [each for each in (row.strikes, offer.strikes.get(stem)) if each is not None]
                strikes = max(known, default=None)
                jobs.append(job_of(row.work, strikes, self._max_attempts, has_report=row.has_report))
        with self._changed:
            self._stems |= {job.work.name: job.work.stem for job in jobs}
        self._jobs.put(jobs)
        self._transport.wake()
        names = [job.work.name for job in jobs]
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or all(name in self._outcomes for name in names))
            outcomes = {name: self._outcomes.pop(name, LEFT) for name in names}
        return [(printable(row.work.name), outcomes.get(row.work.name, "before")) for row in rows]

    def _prepared(self, order: Order, host: str) -> Service:
        """The service, with its model loaded; raises what keeps it from being one."""
        check_version(order, host)
        settings = order.settings
        files, results = order.opened(order.images), order.opened(order.output)
        check_stores(order, files, results, host)
        check_made_with(results, order.asked)
        model = load_model(settings.model, find_factory(settings.model))
        note_made_with(results, made_with(order.asked, model.segmenter.info))
        self._transport = BatchTransport(
            self._jobs, files, Ledger(results), self._book, order.options, self._note
        )
        self._send(ModelLoaded(model.segmenter.info))
        formats = load_formats(settings.outputs.names, order.formats).of_results
        return service_of(
            settings,
            self._transport,
            model,
            model.decode_with(decoding_options(settings)),
            [*formats, load_format(RECORD, order.formats)],
            emit=self._note,
        )

    def _run(self, service: Service) -> None:
        """The service, until it is stopped or fails."""
        error: SampollError | None = None
        try:
            with closing(self._transport):
                service.run(self._stop)
        except DeviceFailed:
            # Another process may use the device. Ray starts one, and gives it the rows of this one.
            with suppress(Exception):
                self._book.leave(None)
            os._exit(DeviceFailed.exit_code)
        except Exception as raised:  # noqa: BLE001  the driver raises it again
            error = _as_told(raised)
        self._stop.set()
        self._flush()
        with suppress(Exception):  # the driver may have gone
            self._book.leave(error)
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    # What the driver is told

    def _note(self, event: SampollEvent) -> None:
        """Passes on the events of jobs; those of the service are about this process only."""
        match event:
            case JobStarted(submission):
                self._send(JobStarted(cast(Any, BegunJob(submission.id, submission.name))))
            case JobDeferred():
                self._send(event)
            case JobDone(name):
                self._end(name, "done", event)
            case JobSkipped(name):
                self._end(name, "before", event)
            case JobFailed(name):
                self._end(name, "failed", event)

    def _send(self, message: Any) -> None:
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def _end(self, name: str, outcome: str, event: SampollEvent) -> None:
        with self._changed:
            self._ended.append((name, self._stems.pop(name), outcome))
            self._send(event)

    def _tell(self) -> None:
        """Sends messages as they come, and asks whether to stop; ends with the service."""
        while not self._is_over:
            with self._changed:
                self._changed.wait_for(lambda: self._messages or self._is_over, SECONDS_BETWEEN_SIGNS)
            self._flush()
            self._stop.wait(SECONDS_BETWEEN_MESSAGES)

    def _flush(self) -> None:
        with self._changed:
            messages, self._messages = self._messages, []
            ended, self._ended = self._ended, []
        try:
            if self._book.tell(messages, [stem for _, stem, _ in ended]):
                self._stop.set()
        except Exception:  # noqa: BLE001  whatever Ray raises if the driver, and so the book, has gone
            self._stop.set()
        with self._changed:
            self._outcomes |= {name: outcome for name, _, outcome in ended}
            self._changed.notify_all()


def _send_log(send: Any) -> None:
    """Warnings and errors of sampoll go to the driver."""
    logger = logging.getLogger("sampoll")
    logger.addHandler(LogSender(send))
    logger.setLevel(logging.WARNING)
    logger.propagate = False


def _as_told(error: Exception) -> SampollError:
    """The error as one of sampoll, which any process can read."""
    if isinstance(error, SampollError):
        return as_value(error)
    log.critical("this is a bug in sampoll; nothing is lost", exc_info=error)
    return SampollError(f"{type(error).__name__}: {error}")
