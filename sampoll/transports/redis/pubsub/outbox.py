"""Sends replies to clients: each is published once, and kept for a while for late subscribers."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

import redis
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import NoPermissionError, RedisError

from sampoll.core.channel import Channel
from sampoll.core.names import printable
from sampoll.transports.redis.connection import Backoff, RedisServer, refusal
from sampoll.transports.redis.pubsub.turns import Turns

log = logging.getLogger(__name__)

OUTBOX_BYTES = 256 * 2**20
"""How many bytes of replies may wait for the server; above that, `put` waits."""
UNDELIVERED_REPEAT_SECONDS = 1.0
"""How long a reply that reached no subscriber is repeated: some clients subscribe after their request."""
PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Outgoing:
    """A reply. It is also kept as `key` for `ttl_seconds`; `is_private`: the client chose the channel.
    `turn`: it must not overtake the replies to messages with smaller numbers. `sent` is called once it is
    published, or lost."""

    channel: str
    content: bytes = field(repr=False)
    key: str | None = None
    ttl_seconds: int = 0
    is_private: bool = False
    turn: int | None = None
    sent: Callable[[], None] = lambda: None


class Outbox:
    """Publishes replies in the order in which they are put in, those with a turn in the order of their turns,
    and waits while the server is unavailable.

    A reply whose publication was interrupted is not published again: a client could mistake the second one
    for the reply to its next request.
    """

    def __init__(self, server: RedisServer) -> None:
        self.lost = 0
        self.turns: Turns[Outgoing] = Turns()
        self._server = server
        self._client = server.client()
        self._waiting: Channel[Outgoing] = Channel(OUTBOX_BYTES)
        self._undelivered: dict[str, deque[tuple[float, Outgoing]]] = {}
        self._is_told_of_keys = False

    def put(self, outgoing: Outgoing) -> None:
        """Waits while the outbox is full; the reply is lost if it is closed."""
        if not self._waiting.put(outgoing, len(outgoing.content)):
            self._lose(outgoing, "there is no connection any more")

    def offer(self, outgoing: Outgoing) -> None:
        """Like `put`, without waiting: the reply is also lost if the outbox is full."""
        if not self._waiting.offer(outgoing, len(outgoing.content)):
            self._lose(outgoing, "too many replies wait for the server")

    def close(self) -> None:
        """Accepts no more replies; `run` ends once all of them have been sent."""
        self._waiting.close()

    def run(self, stop: Event) -> None:
        """Publishes until the outbox is closed and empty, or until `stop` is set: then the replies that are
        left are lost. Raises PermissionRefused."""
        repeated = time.monotonic()
        try:
            while True:
                is_behind = self._undelivered or len(self.turns)
                taken = self._waiting.take(timeout_seconds=PAUSE_SECONDS if is_behind else None)
                for outgoing in taken:
                    if outgoing.turn is None:
                        self._publish(outgoing, stop)
                    else:
                        self.turns.hold(outgoing.turn, outgoing, len(outgoing.content))
                is_over = not taken and self._waiting.is_closed
                for outgoing in self.turns.rest() if is_over else self.turns.due():
                    self._publish(outgoing, stop)
                if is_over:
                    break
                if time.monotonic() - repeated > PAUSE_SECONDS:
                    self._repeat_undelivered()
                    repeated = time.monotonic()
            while self._undelivered and not stop.wait(PAUSE_SECONDS):
                self._repeat_undelivered()
        finally:
            self._client.close()

    def _publish(self, outgoing: Outgoing, stop: Event) -> None:
        if self._send(outgoing, stop) == 0:
            self._undelivered.setdefault(outgoing.channel, deque()).append((time.monotonic(), outgoing))
        outgoing.sent()

    def _send(self, outgoing: Outgoing, stop: Event) -> int | None:
        """How many subscribers have received it; None if it is lost, or may be lost."""
        backoff = Backoff()
        while not stop.is_set():
            try:
                self._connect()
                self._keep(outgoing)
            except RedisError as error:
                self._refuse(error)
                log.debug("no connection for replies: %s; trying again", error)
                backoff.pause(stop)
                continue
            if outgoing.channel in self._undelivered:
                return 0  # it must not overtake those that wait for a subscriber
            try:
                return int(self._client.publish(outgoing.channel, outgoing.content))
            except RedisError as error:
                if not (outgoing.is_private and isinstance(error, NoPermissionError)):
                    self._refuse(error)
                self._lose(outgoing, error)
                return None
        self._lose(outgoing, "there was no time left for it")
        return None

    def _connect(self) -> None:
        """Detects a lost connection before anything is sent over it."""
        pool = self._client.connection_pool
        pool.release(pool.get_connection())

    def _keep(self, outgoing: Outgoing) -> None:
        if outgoing.key is None:
            return
        try:
            self._client.set(outgoing.key, outgoing.content, ex=outgoing.ttl_seconds)
        except (LostConnection, redis.exceptions.TimeoutError):
            raise
        except RedisError as error:  # no memory, read-only, no right to the key: still publishable
            log.log(
                logging.DEBUG if self._is_told_of_keys else logging.WARNING,
                "replies are not kept for late subscribers: %s: %s",
                printable(outgoing.key),
                error,
            )
            self._is_told_of_keys = True

    def _repeat_undelivered(self) -> None:
        for channel, waiting in list(self._undelivered.items()):
            while waiting and self._is_done_with(*waiting[0]):
                waiting.popleft()
            if not waiting:
                del self._undelivered[channel]

    def _is_done_with(self, since: float, outgoing: Outgoing) -> bool:
        """Repeats a reply that reached no subscriber; False if there is still none, and time left."""
        if time.monotonic() - since > UNDELIVERED_REPEAT_SECONDS:
            log.warning("%s has no subscriber: a reply reached no client", printable(outgoing.channel))
            return True
        try:
            return self._client.publish(outgoing.channel, outgoing.content) != 0
        except RedisError as error:
            self._lose(outgoing, error)
            return True

    def _refuse(self, error: RedisError) -> None:
        if (refused := refusal(error, self._server)) is not None:
            raise refused from error

    def _lose(self, outgoing: Outgoing, reason: object) -> None:
        self.lost += 1
        if outgoing.turn is not None:
            self.turns.settle(outgoing.turn)
        log.error("a reply for %s is lost: %s", printable(outgoing.channel), reason)
