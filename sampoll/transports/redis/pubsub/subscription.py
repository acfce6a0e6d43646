"""A subscription that is kept up, read as fast as messages come, and that knows its gaps."""

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

log = logging.getLogger(__name__)

PING_AFTER_SECONDS = 5.0
"""Of silence, after which the server is asked whether it is still there."""
FLOOD_BYTES, CALM_BYTES_PER_SECOND = 8 * 2**20, 100 * 2**20
"""So much at once, at a higher rate than that, is a flood."""
MAX_FLOOD_SECONDS = 1.0


class Flood:
    """Whether messages come so fast that reading them is all that should be done: threads of Python take
    turns, and a server cuts off subscribers that let more than some megabytes lie."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._monotonic, self._sleep = monotonic, sleep
        self._level = 0.0
        self._measured_at = monotonic()

    def add(self, size: int) -> None:
        self._level = self._now() + size

    def wait_for_calm(self) -> None:
        """Returns when the flood is over, or has lasted for long."""
        deadline = self._monotonic() + MAX_FLOOD_SECONDS
        while self._now() > FLOOD_BYTES and self._monotonic() < deadline:
            self._sleep(0.005)

    def _now(self) -> float:
        now = self._monotonic()
        self._level = max(0.0, self._level - CALM_BYTES_PER_SECOND * (now - self._measured_at))
        self._measured_at = now
        return self._level


def literal(channel: str) -> str:
    """The pattern that matches this channel alone."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", channel)


@dataclass
class Gaps:
    """How often a subscription was lost, and for how long in all: what was published then never came."""

    count: int = 0
    seconds: float = 0.0


class Subscription:
    """Hands each message that is published on a channel that matches `pattern` to `receive`, which must be
    quick: a server cuts off subscribers that fall behind."""

    def __init__(
        self,
        server: RedisServer,
        pattern: str,
        receive: Callable[[bytes, bytes], None],
        emit: Listener = ignore_events,
    ) -> None:
        """`receive` gets the channel and the message; `emit` gets when the subscription comes and goes."""
        self.gaps = Gaps()
        self.flood = Flood()
        self.is_up = Event()
        self._server = server
        self._pattern = pattern
        self._receive = receive
        self._emit = emit
        self._heard_at: float | None = None

    def run(self, stop: Event) -> None:
        """Until `stop` is set. PermissionRefused if the server does not let us; ConfigurationError if it
        never did what we asked."""
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
                # Said once, not at each try.
                log.log(
                    logging.ERROR if is_new else logging.DEBUG,
                    "no subscription to %s: %s; trying again",
                    self._server,
                    error,
                )
                is_new = False
            backoff.pause(stop)

    def _listen(self, stop: Event, backoff: Backoff) -> None:
        client = self._server.client()
        try:
            with client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
                pubsub.psubscribe(self._pattern)
                last = asked = time.monotonic()
                while not stop.is_set():
                    now = time.monotonic()
                    if self._take(pubsub, backoff):
                        last = self._heard_at = now
                    elif now - last > PING_AFTER_SECONDS + STALL_SECONDS:
                        raise Stalled("the server is silent")
                    elif now - max(last, asked) > PING_AFTER_SECONDS:
                        # Answered like a ping, and needs no other right than the subscription itself.
                        pubsub.psubscribe(self._pattern)
                        asked = now
        finally:
            client.close()

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
