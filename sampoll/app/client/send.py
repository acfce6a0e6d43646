"""`sampoll send`: publishes pairs as requests, and collects their results."""

import logging
import time
import uuid
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event

import orjson
import redis

from sampoll.app.client.content import MAX_VALUE_BYTES_BASE64, content_of
from sampoll.app.client.outcome import outcome
from sampoll.app.client.reply_files import log_skipped_prompts, write_files
from sampoll.app.client.reply_record import files_of
from sampoll.app.signals import outside_the_main_thread, stopping_on_signals
from sampoll.config.settings.redis import RedisSettings
from sampoll.core.errors import (
    BadPrompt,
    JobError,
    Overloaded,
    ServerUnavailable,
    Stopped,
    translated_os_errors,
)
from sampoll.core.names import printable
from sampoll.core.summary import CommandSummary
from sampoll.inputs.discovery import Pair
from sampoll.monitoring.progress_bar import Progress, progress
from sampoll.transports.redis.connection import Backoff, RedisServer, translated
from sampoll.transports.redis.messages import request_message
from sampoll.transports.redis.pubsub.inbox import Inbox, listening
from sampoll.transports.redis.pubsub.subscription import literal
from sampoll.transports.redis.pubsub.transport import reply_key
from sampoll.transports.redis.replies import NoReply, Reply, parse_reply
from sampoll.transports.redis.server import server_of

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""How long to wait for a server that cannot be reached, or a channel without subscribers."""
NOT_TRIED = (Overloaded.code, Stopped.code)
"""Error codes of requests that were not processed, and are sent again."""
REPEAT_SECONDS = 1.0


@dataclass(frozen=True)
class SendOptions:
    """How to send: `wait` for replies, and write results into `output`, if it is set. At most `in_flight`
    requests are without a reply at a time; each is given up after `timeout_seconds`."""

    redis: RedisSettings
    wait: bool
    output: Path | None
    in_flight: int
    timeout_seconds: float


def send_pairs(
    pairs: Iterable[Pair | JobError], sending: SendOptions, *, show_progress: bool
) -> tuple[int, CommandSummary]:
    """Sends every pair; returns the exit code and a summary."""
    server, stop = server_of(sending.redis), Event()
    with ExitStack() as stack:
        stack.enter_context(stopping_on_signals(stop.set))
        bar = stack.enter_context(progress("pair", is_shown=show_progress))
        client = stack.enter_context(server.client())
        sender = _Sender(server, client, sending, bar)
        outside_the_main_thread(partial(sender.run, pairs, stop))
    what = "done" if sending.wait else "sent"
    counts = {what: sender.done, "failed": sender.failed}
    return outcome(counts, skipped_prompts=sender.skipped_prompts, is_stopped=stop.is_set())


@dataclass(frozen=True)
class _Replies:
    """The channel of our replies, and those that have arrived."""

    channel: str
    inbox: Inbox


@dataclass
class _Sender:
    server: RedisServer
    client: "redis.Redis"
    sending: SendOptions
    bar: Progress
    done: int = 0
    failed: int = 0
    skipped_prompts: int = 0
    # By name, which is the request's id: the pair, and the deadline of its reply (monotonic seconds).
    open: dict[str, tuple[Pair, float]] = field(default_factory=dict)
    gaps_seen: int = 0

    def run(self, pairs: Iterable[Pair | JobError], stop: Event) -> None:
        if not self.sending.wait:
            self._ask_all(pairs, stop, None)
            return
        # A channel of its own: replies to other clients cannot be taken for ours.
        channel = f"{self.sending.redis.redis_out}:{uuid.uuid4().hex}"
        with listening(self.server, literal(channel)) as inbox:
            inbox.wait_until_up(PATIENCE_SECONDS)
            replies = _Replies(channel, inbox)
            self._ask_all(pairs, stop, replies)
            while self.open and not stop.is_set():
                self._collect(replies, stop)

    def _ask_all(self, pairs: Iterable[Pair | JobError], stop: Event, replies: _Replies | None) -> None:
        for pair in pairs:
            while replies and len(self.open) >= self.sending.in_flight and not stop.is_set():
                self._collect(replies, stop)
            if stop.is_set():
                return
            try:
                self._ask(pair, stop, replies)
            except JobError as error:
                self._fail(str(error))

    def _ask(self, pair: Pair | JobError, stop: Event, replies: _Replies | None) -> None:
        if isinstance(pair, JobError):
            raise pair
        self._publish(_message(pair, None if replies is None else replies.channel), stop)
        if replies is None:
            self._succeed(pair.name, "sent")
        else:
            self.open[pair.name] = pair, time.monotonic() + self.sending.timeout_seconds

    def _ask_again(self, pair: Pair, replies: _Replies, stop: Event) -> None:
        try:
            self._publish(_message(pair, replies.channel), stop)
        except JobError as error:  # its files have changed, or are gone
            self._close(pair.name, str(error))

    def _publish(self, message: bytes, stop: Event) -> None:
        """Publishes a request, and retries if delivery is uncertain: a second reply is ignored."""
        backoff, deadline = Backoff(), time.monotonic() + PATIENCE_SECONDS
        while not stop.is_set():
            try:
                with translated(self.server):
                    if self.client.publish(self.sending.redis.redis_in, message) > 0:
                        return
                    raise ServerUnavailable(
                        f"no service is subscribed to {self.sending.redis.redis_in} on {self.server}: start "
                        "`sampoll serve redis` there, or correct --redis-in"
                    )
            except ServerUnavailable:
                if time.monotonic() > deadline:
                    raise
            backoff.pause(stop)

    def _collect(self, replies: _Replies, stop: Event) -> None:
        """Processes the next reply, with a short timeout; if there is none, sends requests again that may
        have been lost, and gives up those past their deadline."""
        message = replies.inbox.next()
        if message is not None:
            self._take(message, replies, stop)
            return
        was_away, self.gaps_seen = replies.inbox.gaps > self.gaps_seen, replies.inbox.gaps
        for name, (pair, deadline) in list(self.open.items()):
            is_over = time.monotonic() > deadline
            if name not in self.open or not (is_over or was_away):
                continue
            with translated(self.server):
                kept = self.client.get(reply_key(replies.channel, name))
            if isinstance(kept, bytes):
                self._take(kept, replies, stop)
            elif not is_over:
                self._ask_again(pair, replies, stop)
            if is_over and name in self.open:
                self._close(name, f"no reply came within {self.sending.timeout_seconds:g} s")

    def _take(self, message: bytes, replies: _Replies, stop: Event) -> None:
        try:
            self._take_reply(parse_reply(message), replies, stop)
        except NoReply as error:
            if isinstance(error.id, str) and error.id in self.open:
                self._close(error.id, str(error))
            else:
                log.warning("a message on %s: %s", replies.channel, error)

    def _take_reply(self, reply: Reply, replies: _Replies, stop: Event) -> None:
        name = reply.id
        if not isinstance(name, str) or name not in self.open:
            return  # a second reply, or one that came too late
        pair, deadline = self.open[name]
        if reply.meta.get("error_code") in NOT_TRIED and time.monotonic() < deadline:
            log.info("%s: %s", printable(name), reply.error)
            stop.wait(REPEAT_SECONDS)
            self._ask_again(pair, replies, stop)
            return
        if reply.error is not None:
            self._close(name, reply.error)
            return
        output = self.sending.output
        stem = name
        if output is not None:
            files = files_of(reply).of_image(pair.image_path)
            with translated_os_errors("write into", output):
                stem = write_files(output, name, files)
        del self.open[name]
        self._succeed(name, "done" if stem == name else f"done as {printable(stem)}")
        self.skipped_prompts += log_skipped_prompts(name, reply)

    def _succeed(self, name: str, what: str) -> None:
        log.info("%s: %s", printable(name), what)
        self.done += 1
        self.bar.advance()

    def _close(self, name: str, reason: str) -> None:
        """Gives up the request of this name."""
        del self.open[name]
        self._fail(f"{printable(name)}: {reason}")

    def _fail(self, reason: str) -> None:
        log.error("%s", reason)
        self.failed += 1
        self.bar.fail()


def _message(pair: Pair, channel: str | None) -> bytes:
    image, prompt = content_of(pair, MAX_VALUE_BYTES_BASE64)
    try:
        return request_message(
            image,
            orjson.loads(prompt) if prompt else None,
            id=pair.name,
            reply_to=channel,
            files=channel is not None,
            image_path=printable(pair.image_path),
        )
    except orjson.JSONEncodeError as error:  # JSON that can be read may be too deeply nested to be written
        raise BadPrompt(f"cannot be sent: {error}", file=str(pair.prompt)) from error
