"""Submissions are requests that clients publish; artifacts go back to them as one reply each."""

import hashlib
import itertools
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event, Lock, Thread
from typing import Any

from sampoll.config.settings.limits import LimitSettings
from sampoll.config.settings.redis import RedisSettings
from sampoll.config.settings.requests import RequestSettings
from sampoll.core.channel import Channel
from sampoll.core.errors import JobError, Overloaded, Reword, Stopped, TransientJobError, reworded
from sampoll.core.events import JobDeferred, JobDone, JobFailed, JobStarted, Listener
from sampoll.core.jobs import Submission
from sampoll.core.memory import StageMemory
from sampoll.core.names import base_name
from sampoll.core.protocols import STOP_POLL_SECONDS
from sampoll.core.results import Delivery
from sampoll.transports.redis.connection import RedisServer
from sampoll.transports.redis.messages import (
    Request,
    error_message,
    parse_request,
    reply_message,
    wire_answer,
)
from sampoll.transports.redis.pubsub.outbox import OUTBOX_BYTES, Outbox, Outgoing
from sampoll.transports.redis.pubsub.relayed import BacklogBounds
from sampoll.transports.redis.pubsub.subscription import Gaps, Subscription
from sampoll.transports.served import BlackMask

log = logging.getLogger(__name__)

GROUP_SIZE = 16
HELD_BYTES = 64 * 2**20
"""While finished replies of more than this wait for their turn, no further requests are taken."""
HELD_PAUSE_SECONDS = 0.05
BACKLOG_BYTES = 256 * 2**20
"""What is read and not parsed yet is in memory up to this size, and beyond it in a temporary file."""
SHUTDOWN_REPLY_SECONDS = 5.0
"""How long replies may still take once the service has stopped."""


@dataclass(frozen=True)
class PubSubOptions:
    """Where requests come from, and their limits; `segmenter` is what a reply says about the model.
    `takes_old_requests`: whatever `sam_predict_redis` took. `reword` puts errors into other words.
    `default_prompt` is for requests without a prompt."""

    redis: RedisSettings
    requests: RequestSettings
    limits: LimitSettings
    segmenter: Mapping[str, Any]
    max_attempts: int = 3
    takes_old_requests: bool = False
    default_prompt: bytes | None = None
    reword: Reword = str


@dataclass(frozen=True)
class _Arrival:
    """A message, and its place in the order of all messages."""

    turn: int
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class _Question:
    """A request; `turn` is its place in the order of replies, if its client has nothing else to tell replies
    apart."""

    request: Request
    turn: int | None


class PubSubTransport:
    """Its own thread receives messages without delay; they wait in a bounded queue until they are parsed.

    Requests without an id or a channel of their own are answered in the order in which they came, errors
    included.
    """

    def __init__(
        self, server: RedisServer, options: PubSubOptions, emit: Listener, black_mask: BlackMask
    ) -> None:
        self._options = options
        self._emit = emit
        self._black_mask = black_mask
        self._queue: Channel[_Arrival] = Channel(options.requests.queue_bytes)
        self._again: list[Submission] = []
        self._open: dict[str, _Question] = {}
        self._attempts: dict[str, int] = {}
        self._lock = Lock()
        self._trouble: BaseException | None = None
        self._has_warned_of_replies = False
        self._subscription = Subscription(
            server, options.redis.redis_in, self._receive, emit, _backlog(options.requests.queue_bytes)
        )
        self._outbox = Outbox(server)
        self._is_deaf, self._is_over = Event(), Event()
        self._threads = [
            Thread(
                target=self._guarded,
                args=(partial(self._subscription.run, self._is_deaf),),
                name="subscription",
            ),
            Thread(target=self._guarded, args=(partial(self._outbox.run, self._is_over),), name="outbox"),
        ]

    @property
    def gaps(self) -> Gaps:
        """How often, and for how long, there was no subscription."""
        return self._subscription.gaps

    @property
    def lost_replies(self) -> int:
        return self._outbox.lost

    @property
    def is_subscribed(self) -> Event:
        """Set while there is a subscription."""
        return self._subscription.is_up

    def open(self) -> None:
        """Starts the threads that receive requests and publish replies."""
        for thread in self._threads:
            thread.start()

    # Transport

    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        while not stop.is_set():
            if self._trouble is not None:
                raise self._trouble
            group = [self._again.pop() for _ in range(len(self._again))]
            timeout_seconds = 0.0 if group else STOP_POLL_SECONDS
            if not self._holds_too_much():
                arrivals = self._queue.take(GROUP_SIZE, timeout_seconds=timeout_seconds)
                self._subscription.flood.wait_for_calm()
                group += filter(None, map(self._submission, arrivals))
            elif not group:
                stop.wait(HELD_PAUSE_SECONDS)
            if group:
                yield group

    def _holds_too_much(self) -> bool:
        """Whether too many replies wait for a request that is in progress. If none is, the next one in the
        queue is what they wait for."""
        return self._outbox.turns.held_bytes > HELD_BYTES and bool(self._open)

    @property
    def held_memory(self) -> StageMemory:
        """Messages that are not parsed yet, requests that wait, and replies that wait for their turn or for
        the server."""
        queue_bytes = self._options.requests.queue_bytes
        backlog = _backlog(queue_bytes).memory_bytes
        replies = HELD_BYTES + OUTBOX_BYTES
        return StageMemory("files", backlog + queue_bytes + replies, "--queue-bytes")

    def begin(self, submissions: Sequence[Submission]) -> None:
        for submission in submissions:
            self._attempts[submission.id] = self._attempts.get(submission.id, 0) + 1
            self._emit(JobStarted(submission))

    def reserve(self, submission: Submission, suffixes: Sequence[str]) -> str:
        """The submission's own name: replies are separate messages, so names never collide."""
        return submission.name

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            question, answer = self._open[delivery.submission.id], wire_answer(delivery.artifacts)
            try:
                message = reply_message(
                    question.request, answer, self._options.segmenter, delivery.summary.skipped
                )
            except JobError as error:
                self.reject(delivery.submission, error)
                continue
            self._close(delivery.submission)
            sent = partial(self._note_done, delivery, time.perf_counter())
            self._outbox.put(self._outgoing(question, message, sent))

    def _note_done(self, delivery: Delivery, began: float) -> None:
        name, summary = delivery.submission.name, delivery.summary.published_in(time.perf_counter() - began)
        self._emit(JobDone(name, delivery.submission.id, name, summary))

    def reject(self, submission: Submission, error: JobError) -> None:
        error = reworded(error, self._options.reword)
        again = isinstance(error, TransientJobError)
        if again and self._attempts[submission.id] < self._options.max_attempts:
            self._emit(JobDeferred(submission.name, submission.id, error, 0.0))
            self._again.append(submission)
            return
        question = self._close(submission)
        sent = partial(self._emit, JobFailed(submission.name, submission.id, error))
        self._outbox.put(self._error(question, error, sent))

    def close(self) -> None:
        """Sends an error reply for each request that is left, for at most SHUTDOWN_REPLY_SECONDS."""
        listener, publisher = self._threads
        self._is_deaf.set()
        listener.join()
        self._queue.close()
        deadline = time.monotonic() + SHUTDOWN_REPLY_SECONDS
        unread = filter(None, map(self._question, self._queue.drain()))
        waiting = itertools.chain(self._open.values(), unread)
        error = Stopped("the service was stopped before it was done; send it again")
        for question in waiting:
            if time.monotonic() > deadline:
                log.error("not every request that was waiting could be answered in time")
                break
            self._outbox.offer(self._error(question, error))
        self._outbox.close()
        publisher.join(max(0.0, deadline - time.monotonic()))
        self._is_over.set()
        publisher.join()

    # What comes in

    def _receive(self, channel: bytes, message: bytes) -> None:
        if channel == self._options.redis.redis_out.encode():
            return  # the pattern matches the channel of replies too: they are no requests
        arrival = _Arrival(self._outbox.turns.take(), message)
        if self._queue.offer(arrival, len(message)):
            return
        question = self._question(arrival)
        if question is None:
            return
        error = Overloaded(
            f"too many requests are waiting, more than {self._options.requests.queue_bytes} bytes "
            "(--queue-bytes): send it again later"
        )
        error = reworded(error, self._options.reword)
        log.warning("refused a request of %d bytes: the queue is full", len(message))
        if question.turn is not None and self._outbox.turns.held_bytes > HELD_BYTES:
            self._outbox.turns.settle(question.turn)  # of refusals, too, only so many can wait for their turn
            question = replace(question, turn=None)
        name = str(question.request.id)
        self._outbox.offer(self._error(question, error, partial(self._emit, JobFailed(name, name, error))))

    def _question(self, arrival: _Arrival) -> _Question | None:
        """The request in a message; None for a reply."""
        request = parse_request(
            arrival.content,
            self._options.limits,
            is_old=self._options.takes_old_requests,
            default_prompt=self._options.default_prompt,
        )
        if request is not None and request.id is None and request.reply_to is None:
            return _Question(request, arrival.turn)
        self._outbox.turns.settle(arrival.turn)
        if request is not None:
            return _Question(request, None)
        if not self._has_warned_of_replies:
            self._has_warned_of_replies = True
            log.warning(
                "a reply came on a channel of requests, and is not answered; so are all others: correct the "
                "reply_to of clients, or --redis-in and --redis-out"
            )
        return None

    def _submission(self, arrival: _Arrival) -> Submission | None:
        """The submission that a message makes; None if it is refused, or a reply."""
        question = self._question(arrival)
        if question is None:
            return None
        request = question.request
        job_id = uuid.uuid4().hex
        name = job_id if request.id is None else str(request.id)
        submission = Submission(
            id=job_id,
            name=name,
            image_name="image",
            prompt_name="prompt",
            image=request.image,
            prompt=request.prompt,
            image_sha256=hashlib.sha256(request.image).hexdigest(),
            image_file=base_name(request.image_path),
            image_path=request.image_path,
        )
        with self._lock:
            self._open[job_id] = question
        if request.error is not None:
            self.reject(submission, request.error)
            return None
        return submission

    # What goes out

    def _close(self, submission: Submission) -> _Question:
        self._attempts.pop(submission.id, None)
        with self._lock:
            return self._open.pop(submission.id)

    def _error(
        self, question: _Question, error: JobError, sent: Callable[[], None] = lambda: None
    ) -> Outgoing:
        request = question.request
        mask = self._black_mask(request.image)
        return self._outgoing(question, error_message(request, error, mask, self._options.segmenter), sent)

    def _outgoing(self, question: _Question, message: bytes, sent: Callable[[], None]) -> Outgoing:
        request = question.request
        channel = request.reply_to or self._options.redis.redis_out
        return Outgoing(
            channel,
            message,
            key=None if request.id is None else reply_key(channel, request.id),
            ttl_seconds=self._options.requests.reply_ttl_seconds,
            is_private=request.reply_to is not None,
            turn=question.turn,
            sent=sent,
        )

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  raised again by submissions()
            self._trouble = self._trouble or error
            self._outbox.close()


def _backlog(queue_bytes: int) -> BacklogBounds:
    """What is kept of messages before they are parsed, for a queue of this size."""
    return BacklogBounds(min(BACKLOG_BYTES, queue_bytes), queue_bytes)


def reply_key(channel: str, request_id: str | int) -> str:
    """The key of the reply to a request, for clients that were not subscribed when it was published."""
    return f"{channel}:reply:{request_id}"


@contextmanager
def pubsub_transport(
    server: RedisServer, options: PubSubOptions, emit: Listener, black_mask: BlackMask
) -> Iterator[PubSubTransport]:
    """A transport that listens from here on; closed at the end."""
    transport = PubSubTransport(server, options, emit, black_mask)
    transport.open()
    try:
        yield transport
    finally:
        transport.close()
