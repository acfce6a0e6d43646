"""`sampoll send`: pairs published as requests, and their results collected."""

import logging
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any

import orjson
import redis
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from sampoll.errors import (
    BadPrompt,
    CutShort,
    JobError,
    SampollError,
    ServerUnavailable,
    UnreadableInput,
    translated_os_errors,
)
from sampoll.naming import printable
from sampoll.pairing import Pair
from sampoll.reply_files import files_of, write_files
from sampoll.signals import outside_the_main_thread, stopping_on_signals
from sampoll.transports.pubsub.link import Backoff, RedisServer, translated
from sampoll.transports.pubsub.messages import parse_reply, request_message
from sampoll.transports.pubsub.subscription import Subscription, literal
from sampoll.transports.pubsub.transport import reply_key

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""With a server that cannot be reached, or to which nobody listens."""
LOOK_SECONDS = 0.2
"""Between two looks at what has waited for too long."""


@dataclass(frozen=True)
class Sending:
    """What to do with requests: `wait` for their replies, and write results into `output`, if there is one.
    At most `in_flight` are without a reply at a time, and none waits for it longer than `timeout_seconds`."""

    redis_in: str
    redis_out: str
    wait: bool
    output: Path | None
    in_flight: int
    timeout_seconds: float


def send(
    server: RedisServer, pairs: Iterable[Pair | JobError], sending: Sending, *, show_progress: bool
) -> tuple[int, str]:
    """Sends every pair; returns the exit code and a summary in one line."""
    stop = Event()
    with ExitStack() as stack:
        stack.enter_context(stopping_on_signals(stop.set))
        bar = stack.enter_context(tqdm(unit="pair", dynamic_ncols=True, disable=not show_progress))
        stack.enter_context(logging_redirect_tqdm())
        client = stack.enter_context(server.client())
        sender = _Sender(server, client, sending, bar)
        outside_the_main_thread(partial(sender.run, pairs, stop))
    summary = f"{sender.done} {'done' if sending.wait else 'sent'}, {sender.failed} failed"
    if stop.is_set():
        return CutShort.exit_code, f"{summary}; stopped before everything was sent or answered"
    return (JobError.exit_code if sender.failed else 0), summary


@dataclass
class _Sender:
    server: RedisServer
    client: "redis.Redis"
    sending: Sending
    bar: "tqdm[Any]"
    done: int = 0
    failed: int = 0
    # By the pair's name, which is the request's id: when its reply is given up (monotonic seconds).
    open: dict[str, float] = field(default_factory=dict)
    replies: "SimpleQueue[bytes]" = field(default_factory=SimpleQueue)
    trouble: BaseException | None = None

    def run(self, pairs: Iterable[Pair | JobError], stop: Event) -> None:
        # A channel of its own: nobody else's reply can be taken for one of ours.
        channel = f"{self.sending.redis_out}:{uuid.uuid4().hex}" if self.sending.wait else None
        with self._subscribed(channel) if channel else nullcontext():
            for pair in pairs:
                while channel and len(self.open) >= self.sending.in_flight and not stop.is_set():
                    self._collect(channel)
                if stop.is_set():
                    return
                try:
                    self._ask(pair, channel, stop)
                except JobError as error:
                    self._fail(str(error))
            while channel and self.open and not stop.is_set():
                self._collect(channel)

    @contextmanager
    def _subscribed(self, channel: str) -> Iterator[None]:
        """Meanwhile replies on `channel` are put into the queue."""
        subscription = Subscription(
            self.server, literal(channel), lambda _, message: self.replies.put(message)
        )
        deaf = Event()

        def listen() -> None:
            try:
                subscription.run(deaf)
            except SampollError as error:
                self.trouble = error

        listener = Thread(target=listen, name="subscription")
        listener.start()
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not subscription.is_up.wait(LOOK_SECONDS):
                self._raise_trouble()
                if time.monotonic() > deadline:
                    raise ServerUnavailable(f"{self.server} cannot be reached")
            yield
        finally:
            deaf.set()
            listener.join()

    def _ask(self, pair: Pair | JobError, channel: str | None, stop: Event) -> None:
        if isinstance(pair, JobError):
            raise pair
        self._publish(_message(pair, channel), stop)
        if channel is None:
            self._succeed(pair.name, "sent")
        else:
            self.open[pair.name] = time.monotonic() + self.sending.timeout_seconds

    def _publish(self, message: bytes, stop: Event) -> None:
        """Publishes a request; again, if it is not clear whether it was heard: the same id is answered to."""
        backoff, deadline = Backoff(), time.monotonic() + PATIENCE_SECONDS
        while not stop.is_set():
            try:
                with translated(self.server):
                    if self.client.publish(self.sending.redis_in, message) > 0:
                        return
                    raise ServerUnavailable(
                        f"nobody is subscribed to {self.sending.redis_in} on {self.server}: start "
                        "`sampoll serve redis` there, or correct --redis-in"
                    )
            except ServerUnavailable:
                if time.monotonic() > deadline:
                    raise
            backoff.pause(stop)

    def _collect(self, channel: str) -> None:
        """Takes what came, or waits a moment for it; gives up what has waited for too long."""
        self._raise_trouble()
        try:
            self._take(self.replies.get(timeout=LOOK_SECONDS))
        except Empty:
            for name in [name for name, deadline in self.open.items() if time.monotonic() > deadline]:
                # Published while we were not subscribed, perhaps.
                with translated(self.server):
                    kept = self.client.get(reply_key(channel, name))
                if isinstance(kept, bytes):
                    self._take(kept)
                else:
                    del self.open[name]
                    self._fail(f"{printable(name)}: no reply came within {self.sending.timeout_seconds:g} s")

    def _take(self, message: bytes) -> None:
        try:
            reply = parse_reply(message)
        except ValueError as error:
            log.warning("%s", error)
            return
        name = str(reply.id)
        if self.open.pop(name, None) is None:
            return  # a second reply, or one that came too late
        if reply.error is not None:
            self._fail(f"{printable(name)}: {reply.error}")
            return
        output = self.sending.output
        stem = name
        if output is not None:
            with translated_os_errors("write into", output):
                stem = write_files(output, name, files_of(reply, name))
        self._succeed(name, "done" if stem == name else f"done as {printable(stem)}")

    def _succeed(self, name: str, what: str) -> None:
        log.info("%s: %s", printable(name), what)
        self.done += 1
        self.bar.update()

    def _fail(self, reason: str) -> None:
        log.error("%s", reason)
        self.failed += 1
        self.bar.update()

    def _raise_trouble(self) -> None:
        if self.trouble is not None:
            raise self.trouble


def _message(pair: Pair, channel: str | None) -> bytes:
    content = {}
    for path in (pair.prompt, pair.image):
        try:
            content[path] = path.read_bytes()
        except OSError as error:
            raise UnreadableInput(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    try:
        prompt = orjson.loads(content[pair.prompt])
    except orjson.JSONDecodeError as error:
        raise BadPrompt(f"is not JSON in UTF-8: {error}", file=str(pair.prompt)) from error
    return request_message(
        content[pair.image], prompt, id=pair.name, reply_to=channel, files=channel is not None
    )
