"""Submissions are entries of a stream that a group of workers shares; results are those of another stream."""

import hashlib
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any

from sampoll.config.settings.limits import LimitSettings
from sampoll.config.settings.streams import StreamsSettings
from sampoll.core.errors import CrashedRepeatedly, JobError, TransientJobError
from sampoll.core.events import JobDeferred, JobDone, JobFailed, JobLost, JobStarted, Listener
from sampoll.core.jobs import Submission, groups_of
from sampoll.core.memory import StageMemory
from sampoll.core.names import base_name
from sampoll.core.protocols import STOP_POLL_SECONDS
from sampoll.core.results import Delivery
from sampoll.transports.redis.messages import error_message, reply_message, wire_answer
from sampoll.transports.redis.streams.entries import INPUT_KEYS, Content, Fields, content_of
from sampoll.transports.redis.streams.worker import Worker
from sampoll.transports.served import BlackMask

RETRY_SECONDS = 1.0
"""The delay before a retry after a transient error."""


@dataclass(frozen=True)
class StreamOptions:
    """`slots` is how many jobs we hold at a time; `segmenter` is what results say about the model.
    `default_prompt` is for jobs without a prompt."""

    slots: int
    streams: StreamsSettings
    max_attempts: int
    limits: LimitSettings
    segmenter: Mapping[str, Any]
    default_prompt: bytes | None = None


@dataclass
class _Held:
    """A job of ours. `is_ending`: only its commit can tell whether it is still ours, because that may have
    ended it, and the answer may be under way or lost."""

    entry: str
    fields: Fields
    submission: Submission
    content: Content
    attempts: int
    is_begun: bool = False
    is_ending: bool = False


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
        self._again: list[tuple[float, _Held]] = []

    # Transport

    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        self._worker.keep_alive(self._held_entries, self._note_lost_entry)
        while not stop.is_set():
            due = [submission for held in self._due() if (submission := self._retried(held)) is not None]
            slots = self._options.slots - len(self._held)
            entries: Sequence[tuple[str, Fields | None]] = ()
            if slots > 0:
                entries = self._worker.read(slots, self._held_entries(), stop, may_wait=not due)
            elif not due:
                self._freed.wait(STOP_POLL_SECONDS)
                self._freed.clear()
            taken = [submission for entry in entries if (submission := self._taken(*entry)) is not None]
            yield from groups_of([*due, *taken])

    def begin(self, submissions: Sequence[Submission]) -> None:
        with self._lock:
            held = [self._held[s.id] for s in submissions if s.id in self._held]
            for each in held:  # under the lock, so that a heartbeat cannot report one as lost before
                self._emit(JobStarted(each.submission))
        self._count_attempts(held)

    def reserve(self, submission: Submission, suffixes: Sequence[str]) -> str:
        """The submission's own name: results are separate entries, so names never collide."""
        return submission.name

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            held = self._held.get(delivery.submission.id)
            if held is None:
                continue
            try:
                self._publish(held, delivery)
            except JobError as error:
                self.reject(delivery.submission, error)

    def reject(self, submission: Submission, error: JobError) -> None:
        held = self._held.get(submission.id)
        if held is None:
            return
        if isinstance(error, TransientJobError) and held.attempts < self._options.max_attempts:
            with self._lock:
                self._again.append((time.monotonic() + RETRY_SECONDS, held))
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

    @property
    def held_memory(self) -> StageMemory:
        """The images of the jobs that it holds."""
        held_bytes = self._options.slots * self._options.limits.max_image_bytes
        return StageMemory("files", held_bytes, "--max-image-bytes")

    # In between

    def _publish(self, held: _Held, delivery: Delivery) -> None:
        began, submission = time.perf_counter(), delivery.submission
        answer = wire_answer(delivery.artifacts)
        skipped = delivery.summary.skipped
        message = reply_message(held.content.request, answer, self._options.segmenter, skipped)
        if self._commit(held, message):
            summary = delivery.summary.published_in(time.perf_counter() - began)
            self._emit(JobDone(submission.name, submission.id, submission.name, summary))

    def _due(self) -> list[_Held]:
        now = time.monotonic()
        with self._lock:
            due = [held for moment, held in self._again if moment <= now]
            self._again = [(moment, held) for moment, held in self._again if moment > now]
        return [held for held in due if held.submission.id in self._held]

    def _retried(self, held: _Held) -> Submission | None:
        """The submission again; made from the entry again if its image could not be read."""
        if held.content.request.error is None:
            return held.submission
        self._let_go(held)
        return self._taken(held.entry, held.fields)

    def _count_attempts(self, held: Sequence[_Held]) -> None:
        if not held:
            return
        counts = self._worker.begin({each.entry: each.attempts + 1 for each in held})
        for each, attempt in zip(held, counts, strict=True):
            if attempt == 0:
                self._note_lost(each)
            else:
                each.is_begun, each.attempts = True, attempt

    def _taken(self, entry: str, fields: Fields | None) -> Submission | None:
        """The submission made from an entry; None if it is not to be tried, or not now."""
        if fields is None:
            self._worker.note_trimmed(1)
            self._worker.forget(entry)
            return None
        options = self._options
        content = content_of(entry, fields, options.streams.root, options.limits, options.default_prompt)
        request, attempts = content.request, self._worker.attempts_of(entry)
        submission = Submission(
            id=uuid.uuid4().hex,
            name=str(request.id),
            image_name=content.path or "image",
            prompt_name="prompt",
            image=request.image,
            prompt=request.prompt,
            image_sha256=hashlib.sha256(request.image).hexdigest(),
            alone=attempts > 0,
            image_file=base_name(content.path or request.image_path),
            image_path=request.image_path,
        )
        held = _Held(entry, fields, submission, content, attempts)
        with self._lock:
            self._held[submission.id] = held
        if attempts >= self._options.max_attempts:
            died = f"{attempts} workers have died, or were killed, while they worked on it"
            self._fail(held, CrashedRepeatedly(died))
            return None
        if request.error is not None:
            self._count_attempts([held])
            self.reject(submission, request.error)
            return None
        return submission

    def _fail(self, held: _Held, error: JobError) -> None:
        request, submission = held.content.request, held.submission
        failed: dict[str, str | bytes] = {
            "id": submission.name,
            "error": str(error),
            "code": error.code,
            "attempts": str(held.attempts),
            **{key: held.fields[key.encode()] for key in INPUT_KEYS if key.encode() in held.fields},
        }
        message = error_message(request, error, self._black_mask(request.image), self._options.segmenter)
        if self._commit(held, message, failed):
            self._emit(JobFailed(submission.name, submission.id, error))

    def _commit(self, held: _Held, reply: bytes, failed: Mapping[str, str | bytes] | None = None) -> bool:
        with self._lock:
            held.is_ending = True
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
            lost = [held for held in self._held.values() if held.entry == entry and not held.is_ending]
        for held in lost:  # none if it has just ended
            self._note_lost(held)

    def _note_lost(self, held: _Held) -> None:
        if self._let_go(held):
            self._worker.note_lost(held.submission.name)
            self._emit(JobLost(held.submission.name, held.submission.id))

    def _let_go(self, held: _Held) -> bool:
        with self._lock:
            was_ours = self._held.pop(held.submission.id, None) is not None
        self._freed.set()
        return was_ours


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
