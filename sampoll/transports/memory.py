"""Jobs of the same process: each is submitted, and a future gets its result or its error."""

import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Condition, Event

from sampoll.core.errors import JobError, Overloaded, Stopped, TransientJobError, as_value
from sampoll.core.events import JobDeferred, JobDone, JobFailed, JobStarted, Listener, ignore_events
from sampoll.core.jobs import Submission
from sampoll.core.memory import StageMemory
from sampoll.core.protocols import STOP_POLL_SECONDS, Format
from sampoll.core.results import Delivery

QUEUE_BYTES = 2**30
QUEUE_SUBMISSIONS = 10_000
MAX_ATTEMPTS = 3
STOPPED = "the service was stopped before it was done; send it again"
CLOSED = "the service is closed, and takes nothing more"


def submission(name: str, image: bytes, prompt: bytes) -> Submission:
    """A submission of its own id, as a transport would hand it out."""
    return Submission(
        id=uuid.uuid4().hex,
        name=name,
        image_name=f"{name}.jpg",
        prompt_name=f"{name}.json",
        image=image,
        prompt=prompt,
        image_sha256=hashlib.sha256(image).hexdigest(),
        image_file=f"{name}.jpg",
    )


@dataclass
class _Request:
    """A submission that has no outcome yet, the formats that it asks for, and how often it was begun."""

    submission: Submission
    formats: Sequence[Format]
    future: Future[Delivery]
    attempts: int = 0

    @property
    def bytes(self) -> int:
        return self.submission.content_bytes

    def starts_or_runs(self) -> bool:
        """Whether it was not cancelled before; from now on, it cannot be."""
        return self.future.running() or self.future.set_running_or_notify_cancel()


class MemoryTransport:
    """Hands out what `submit` takes, in its order, until `finish` or `close`.

    What waits to be begun is bounded by `max_bytes` and `max_waiting`; one submission of any size is always
    taken. Groups have at most `group_size` submissions. `max_attempts` bounds the tries of one that is
    rejected with a TransientJobError. Threads may share it.
    """

    def __init__(
        self,
        emit: Listener = ignore_events,
        *,
        group_size: int = 1,
        max_bytes: int = QUEUE_BYTES,
        max_waiting: int = QUEUE_SUBMISSIONS,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> None:
        self._emit = emit
        self._group_size = group_size
        self._max_bytes = max_bytes
        self._max_waiting = max_waiting
        self._max_attempts = max_attempts
        self._waiting: OrderedDict[str, _Request] = OrderedDict()
        self._waiting_bytes = 0
        self._open: dict[str, _Request] = {}
        self._refusal: BaseException | None = None
        """Why nothing more is taken, if that is so."""
        self._changed = Condition()

    # For those who have jobs

    def submit(
        self, submission: Submission, formats: Sequence[Format] = (), *, waits: bool = True
    ) -> Future[Delivery]:
        """The future of a submission that is rendered in these formats, once there is room for it.

        Its exception is the JobError of the job, or what has ended the service. `cancel` withdraws what was
        not begun. Raises Overloaded if there is no room and `waits` is False; Stopped, or what has ended the
        service, if nothing more is taken.
        """
        request = _Request(submission, formats, Future())
        with self._changed:
            if waits:
                self._changed.wait_for(lambda: self._refusal is not None or self._has_room(request))
            if self._refusal is not None:
                raise self._refusal.with_traceback(None)  # it is raised again and again
            if not self._has_room(request):
                waiting = f"{len(self._waiting)} requests of {self._waiting_bytes} bytes"
                raise Overloaded(f"{waiting} are waiting already: send it again later")
            self._add(request)
        request.future.add_done_callback(lambda _: self._withdraw(submission.id))
        return request.future

    def formats_of(self, submission: Submission) -> Sequence[Format]:
        """Those which the sender of a submission has asked for."""
        return self._open[submission.id].formats

    @property
    def waiting_count(self) -> int:
        """How many submissions wait to be begun."""
        return len(self._waiting)

    def finish(self) -> None:
        """Takes nothing more: `submissions` ends once all that was submitted has an outcome."""
        with self._changed:
            self._refusal = self._refusal or Stopped(CLOSED)
            self._changed.notify_all()

    def stop(self) -> None:
        """Like `finish`, but what was not begun fails as Stopped."""
        self.finish()
        _fail(self._dropped(), Stopped(STOPPED))

    def close(self, error: BaseException | None = None) -> None:
        """Fails all that has no outcome, as Stopped, or with the `error` that has ended the service."""
        with self._changed:
            self._refusal = error or self._refusal or Stopped(CLOSED)
            begun = list(self._open.values())
            self._open.clear()
            self._changed.notify_all()
        _fail([*begun, *self._dropped()], error or Stopped(STOPPED))

    # For the service

    @property
    def held_memory(self) -> StageMemory:
        return StageMemory("files", self._max_bytes, "--queue-bytes")

    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        while not stop.is_set():
            with self._changed:
                self._changed.wait_for(
                    lambda: self._waiting or self._is_over() or stop.is_set(), STOP_POLL_SECONDS
                )
                if self._is_over() or stop.is_set():
                    return
                group = self._taken()
            if group:
                yield group

    def begin(self, submissions: Sequence[Submission]) -> None:
        for begun in submissions:
            self._open[begun.id].attempts += 1
            self._emit(JobStarted(begun))

    def reserve(self, submission: Submission, suffixes: Sequence[str]) -> str:
        return submission.name

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            done = delivery.submission
            request = self._ended(done)
            self._emit(JobDone(done.name, done.id, done.name, delivery.summary))
            request.future.set_result(delivery)

    def reject(self, submission: Submission, error: JobError) -> None:
        with self._changed:
            request = self._ended(submission)
            again = isinstance(error, TransientJobError) and request.attempts < self._max_attempts
            if again:
                self._add(request)
        if again:
            self._emit(JobDeferred(submission.name, submission.id, error, 0.0))
        else:
            self._emit(JobFailed(submission.name, submission.id, error))
            request.future.set_exception(as_value(error))

    # Under the lock

    def _has_room(self, request: _Request) -> bool:
        if not self._waiting:
            return True
        is_small = self._waiting_bytes + request.bytes <= self._max_bytes
        return is_small and len(self._waiting) < self._max_waiting

    def _add(self, request: _Request) -> None:
        identity = request.submission.id
        if identity in self._waiting or identity in self._open:
            raise ValueError(f"two submissions have the id {identity}")
        self._waiting[identity] = request
        self._waiting_bytes += request.bytes
        self._changed.notify_all()

    def _taken(self) -> list[Submission]:
        """The next group: all that waits, up to the size of a group."""
        group: list[Submission] = []
        while self._waiting and len(group) < self._group_size:
            request = next(iter(self._waiting.values()))
            self._remove(request)
            if request.starts_or_runs():
                self._open[request.submission.id] = request
                group.append(request.submission)
        return group

    def _remove(self, request: _Request) -> None:
        del self._waiting[request.submission.id]
        self._waiting_bytes -= request.bytes
        self._changed.notify_all()

    def _is_over(self) -> bool:
        return self._refusal is not None and not self._waiting and not self._open

    # Without the lock, or with it: futures call back whoever waits for them

    def _withdraw(self, identity: str) -> None:
        with self._changed:
            if identity in self._waiting:
                self._remove(self._waiting[identity])

    def _ended(self, submission: Submission) -> _Request:
        with self._changed:
            self._changed.notify_all()
            return self._open.pop(submission.id)

    def _dropped(self) -> list[_Request]:
        """All that waited."""
        with self._changed:
            dropped = list(self._waiting.values())
            for request in dropped:
                self._remove(request)
            return dropped


def _fail(requests: Sequence[_Request], error: BaseException) -> None:
    for request in requests:
        if request.starts_or_runs():
            request.future.set_exception(error)
