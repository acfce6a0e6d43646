"""A subscription that is renewed after outages, reads messages at once, and counts its gaps."""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from redis.client import PubSub
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as Stalled

from sampoll.core.errors import ConfigurationError, ServerUnavailable
from sampoll.core.events import Listener, Paused, Resumed, ignore_events
from sampoll.core.protocols import STOP_POLL_SECONDS
from sampoll.transports.redis.connection import STALL_SECONDS, Backoff, RedisServer, refusal
from sampoll.transports.redis.pubsub.relay import Flood
from sampoll.transports.redis.pubsub.relayed import BacklogBounds, relayed_client

log = logging.getLogger(__name__)

PING_AFTER_SECONDS = 5.0
"""After so long without any message, the server is asked whether it is still there."""
LEAVE_SECONDS = 2.0
"""How long the next message that was published before the end of a subscription is waited for."""


def literal(channel: str) -> str:
    """The pattern that matches this channel alone."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", channel)


@dataclass
class Gaps:
    """How often a subscription was lost, and for how long in all: messages of that time were not received."""

    count: int = 0
    seconds: float = 0.0


class Subscription:
    """Calls `receive` with each message that is published on a channel that matches `pattern`. It must be
    quick: a server disconnects subscribers that fall behind."""

    def __init__(
        self,
        server: RedisServer,
        pattern: str,
        receive: Callable[[bytes, bytes], None],
        emit: Listener = ignore_events,
        backlog: BacklogBounds | None = None,
    ) -> None:
        """Calls `receive` with the channel and the message, and `emit` with Paused and Resumed events. With a
        `backlog`, a process of its own reads the messages, and keeps so much of them."""
        self.gaps = Gaps()
        self.flood = Flood()
        self.is_up = Event()
        self._server = server
        self._pattern = pattern
        self._receive = receive
        self._emit = emit
        self._backlog = backlog
        self._heard_at: float | None = None

    def run(self, stop: Event) -> None:
        """Runs until `stop` is set. PermissionRefused if the server rejects our login or rights;
        ConfigurationError if it answers with another error before the first subscription."""
        backoff = Backoff()
        is_new = True
        while not stop.is_set():
            try:
                self._listen(stop, backoff)
                return
            except RedisError as error:
                if (refused := refusal(error, self._server)) is not None:
                    raise refused from error
                if isinstance(error, ResponseError) and self._heard_at is None:
                    raise ConfigurationError(f"{self._server} answers: {error}") from error
                if self.is_up.is_set():
                    self.is_up.clear()
                    is_new = True
                if is_new:
                    trouble = ServerUnavailable(f"no subscription to {self._server}: {error}")
                    self._emit(Paused(trouble))
                # An error once, not at each retry.
                log.log(
                    logging.ERROR if is_new else logging.DEBUG,
                    "no subscription to %s: %s; trying again",
                    self._server,
                    error,
                )
                is_new = False
            backoff.pause(stop)

    def _listen(self, stop: Event, backoff: Backoff) -> None:
        client = (
            self._server.client() if self._backlog is None else relayed_client(self._server, self._backlog)
        )
        try:
            with client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
                pubsub.psubscribe(self._pattern)
                last = asked = time.monotonic()
                while not stop.is_set():
                    now = time.monotonic()
                    if self._take(pubsub, backoff):
                        last = self._heard_at = now
                    elif now - last > PING_AFTER_SECONDS + STALL_SECONDS:
                        raise Stalled("the server does not answer")
                    elif now - max(last, asked) > PING_AFTER_SECONDS:
                        # Works like a ping, but needs no other right than the subscription itself.
                        pubsub.psubscribe(self._pattern)
                        asked = now
                self._leave(pubsub, backoff)
        finally:
            client.close()

    def _leave(self, pubsub: PubSub, backoff: Backoff) -> None:
        """Ends the subscription, and receives what was published before its end: the server has told those
        clients that their messages have a receiver."""
        reason: object = "the server does not answer"
        try:
            pubsub.punsubscribe(self._pattern)  # type: ignore[no-untyped-call]
            heard_at = time.monotonic()
            while pubsub.subscribed and time.monotonic() < heard_at + LEAVE_SECONDS:
                if self._take(pubsub, backoff):
                    heard_at = time.monotonic()
            if not pubsub.subscribed:
                return
        except RedisError as error:
            reason = error
        log.error("what was published last to %s on %s may be lost: %s", self._pattern, self._server, reason)

    def _take(self, pubsub: PubSub, backoff: Backoff) -> bool:
        """Whether anything came within STOP_POLL_SECONDS."""
        # Not get_message's own timeout: it would also limit the pauses inside a message, and break it off.
        if pubsub.connection is None or not pubsub.connection.can_read(timeout=STOP_POLL_SECONDS):
            return False
        message = pubsub.get_message(timeout=STALL_SECONDS)
        match message and message["type"]:
            case "psubscribe":
                backoff.reset()
                self._note_up()
            case "pmessage":
                self.flood.add(len(message["data"]))
                self._receive(message["channel"], message["data"])
        return True

    def _note_up(self) -> None:
        if self.is_up.is_set():
            return
        if self._heard_at is None:
            log.info("subscribed to %s on %s", self._pattern, self._server)
        else:
            seconds = time.monotonic() - self._heard_at
            self.gaps.count += 1
            self.gaps.seconds += seconds
            log.error(
                "subscribed to %s on %s again; what was published in the last %.1f s may be lost",
                self._pattern,
                self._server,
                seconds,
            )
        self.is_up.set()
        self._emit(Resumed())
