"""Submissions are entries of a stream that a group of workers shares; results are those of another stream."""

import hashlib
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any

from sampoll.config.settings import LimitSettings, StreamsSettings
from sampoll.core.errors import CrashedRepeatedly, JobError, TransientJobError
from sampoll.core.events import JobDeferred, JobDone, JobFailed, JobStarted, Listener
from sampoll.core.jobs import Submission
from sampoll.core.protocols import STOP_POLL_SECONDS
from sampoll.core.results import Delivery
from sampoll.transports.redis.messages import error_message, reply_message, wire_answer
from sampoll.transports.redis.streams.entries import Content, Fields, content_of
from sampoll.transports.redis.streams.worker import Worker
from sampoll.transports.served import BlackMask

RETRY_SECONDS = 1.0
"""The delay before a retry after a transient error."""


@dataclass(frozen=True)
class StreamOptions:
    """`slots` is how many jobs we hold at a time; `segmenter` is what results say about the model."""

    slots: int
    streams: StreamsSettings
    max_attempts: int
    limits: LimitSettings
    segmenter: Mapping[str, Any]


@dataclass
class _Held:
    """A job of ours."""

    entry: str
    submission: Submission
    content: Content
    attempts: int
    is_begun: bool = False


class StreamTransport:
    """Its submissions end only when it is stopped."""

    def __init__(self, worker: Worker, options: StreamOptions, emit: Listener, black_mask: BlackMask) -> None:
        self._worker = worker
        self._options = options
        self._emit = emit
        self._black_mask = black_mask
        self._held: dict[str, _Held] = {}
        self._lock = Lock()
        self._freed = Event()
        self._again: list[tuple[float, Submission]] = []

    # Transport

    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        self._worker.keep_alive(self._held_entries, self._note_lost_entry)
        while not stop.is_set():
            due = self._due()
            slots = self._options.slots - len(self._held)
            entries: Sequence[tuple[str, Fields | None]] = ()
            if slots > 0:
                entries = self._worker.read(slots, self._held_entries(), stop, may_wait=not due)
            elif not due:
                self._freed.wait(STOP_POLL_SECONDS)
                self._freed.clear()
            taken = [submission for entry in entries if (submission := self._taken(*entry)) is not None]
            yield from _grouped([*due, *taken])

    def begin(self, submissions: Sequence[Submission]) -> None:
        held = [self._held[s.id] for s in submissions if s.id in self._held]
        for each, attempt in zip(held, self._worker.begin([each.entry for each in held]), strict=True):
            each.is_begun, each.attempts = True, attempt
            if attempt == 0:
                self._note_lost(each)
        for submission in submissions:
            self._emit(JobStarted(submission))

    def reserve(self, submission: Submission, suffixes: Sequence[str]) -> str:
        """The submission's own name: results are separate entries, so names never collide."""
        return submission.name

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            submission = delivery.submission
            held = self._held.get(submission.id)
            if held is not None:
                began = time.perf_counter()
                answer = wire_answer(delivery.artifacts)
                if self._commit(held, reply_message(held.content.request, answer, self._options.segmenter)):
                    summary = delivery.summary.published_in(time.perf_counter() - began)
                    self._emit(JobDone(submission.name, submission.id, submission.name, summary))

    def reject(self, submission: Submission, error: JobError) -> None:
        held = self._held.get(submission.id)
        if held is None:
            return
        if isinstance(error, TransientJobError) and held.attempts < self._options.max_attempts:
            with self._lock:
                self._again.append((time.monotonic() + RETRY_SECONDS, submission))
            self._emit(JobDeferred(submission.name, submission.id, error, RETRY_SECONDS))
        else:
            self._fail(held, error)

    def close(self) -> None:
        """Releases jobs that are neither delivered nor rejected to other workers, at once and uncounted."""
        held = list(self._held.values())
        self._worker.close(
            [each.entry for each in held if each.is_begun], [each.entry for each in held if not each.is_begun]
        )
        self._held.clear()

    # In between

    def _due(self) -> list[Submission]:
        now = time.monotonic()
        with self._lock:
            due = [submission for moment, submission in self._again if moment <= now]
            self._again = [(moment, submission) for moment, submission in self._again if moment > now]
        return due

    def _taken(self, entry: str, fields: Fields | None) -> Submission | None:
        """The submission made from an entry; None if the entry ends here, without a try."""
        if fields is None:
            self._worker.note_trimmed(1)
            self._worker.forget(entry)
            return None
        content = content_of(fields, self._options.streams.root, self._options.limits.max_image_bytes)
        request, attempts = content.request, self._worker.attempts_of(entry)
        submission = Submission(
            id=uuid.uuid4().hex,
            name=entry if request.id is None else str(request.id),
            image_name=content.path or "image",
            prompt_name="prompt",
            image=request.image,
            prompt=request.prompt,
            image_sha256=hashlib.sha256(request.image).hexdigest(),
            alone=attempts > 0,
        )
        held = _Held(entry, submission, content, attempts)
        with self._lock:
            self._held[submission.id] = held
        error = request.error
        if attempts >= self._options.max_attempts:
            error = CrashedRepeatedly(
                f"{attempts} workers have died, or were killed, while they worked on it"
            )
        if error is not None:
            self._fail(held, error)
            return None
        return submission

    def _fail(self, held: _Held, error: JobError) -> None:
        request, path, submission = held.content.request, held.content.path, held.submission
        failed: dict[str, str | bytes] = {
            "id": submission.name,
            "error": str(error),
            "code": error.code,
            "attempts": str(held.attempts),
            "prompt": request.prompt,
        }
        failed.update({"image": request.image} if path is None else {"path": path})
        message = error_message(request, error, self._black_mask(request.image), self._options.segmenter)
        if self._commit(held, message, failed):
            self._emit(JobFailed(submission.name, submission.id, error))

    def _commit(self, held: _Held, reply: bytes, failed: Mapping[str, str | bytes] | None = None) -> bool:
        if self._worker.commit(held.entry, held.submission.name, reply, failed):
            self._let_go(held)
            return True
        self._note_lost(held)
        return False

    def _held_entries(self) -> frozenset[str]:
        with self._lock:
            return frozenset(held.entry for held in self._held.values())

    def _note_lost_entry(self, entry: str) -> None:
        with self._lock:
            lost = [held for held in self._held.values() if held.entry == entry]
        for held in lost:  # none if it has just ended
            self._note_lost(held)

    def _note_lost(self, held: _Held) -> None:
        if self._let_go(held):
            self._worker.note_lost(held.submission.name)

    def _let_go(self, held: _Held) -> bool:
        with self._lock:
            was_ours = self._held.pop(held.submission.id, None) is not None
        self._freed.set()
        return was_ours


def _grouped(submissions: Sequence[Submission]) -> Iterator[list[Submission]]:
    """Each submission that must run alone is a group of its own; the others are one group."""
    together = [submission for submission in submissions if not submission.alone]
    if together:
        yield together
    for submission in submissions:
        if submission.alone:
            yield [submission]


@contextmanager
def stream_transport(
    worker: Worker,
    options: StreamOptions,
    emit: Listener,
    black_mask: BlackMask,
    stop: Event,
) -> Iterator[StreamTransport]:
    """A transport whose worker has joined its group, unless it was stopped before; closed at the end."""
    transport = StreamTransport(worker, options, emit, black_mask)
    try:
        worker.join(stop)
        yield transport
    finally:
        transport.close()
