"""Collects the messages of a subscription for a caller that needs time for each message."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Event, Thread

from sampoll.core.errors import SampollError, ServerUnavailable
from sampoll.transports.redis.connection import RedisServer
from sampoll.transports.redis.pubsub.subscription import Subscription

POLL_SECONDS = 0.2


class Inbox:
    """The messages on a pattern of channels, in order, in a queue without a limit."""

    def __init__(self, server: RedisServer, pattern: str) -> None:
        self._server = server
        self._pattern = pattern
        self._messages: SimpleQueue[bytes] = SimpleQueue()
        self._subscription = Subscription(server, pattern, lambda _, message: self._messages.put(message))
        self._trouble: SampollError | None = None

    @property
    def gaps(self) -> int:
        """How often the subscription was lost and made again."""
        return self._subscription.gaps.count

    @property
    def last(self) -> str:
        """The place of the last message, as text for messages."""
        return f"a message on {self._pattern}"

    def next(self, timeout_seconds: float = POLL_SECONDS) -> bytes | None:
        """The next message, or None if none has come in time; raises what has ended the subscription."""
        if self._trouble is not None:
            raise self._trouble
        try:
            return self._messages.get(timeout=timeout_seconds)
        except Empty:
            return None

    def settle(self) -> None:
        """Acknowledges the last message: does nothing, because publish/subscribe never delivers it again."""

    def wait_until_up(self, timeout_seconds: float) -> None:
        """Returns once there is a subscription; ServerUnavailable if there is none in time."""
        deadline = time.monotonic() + timeout_seconds
        while not self._subscription.is_up.wait(POLL_SECONDS):
            if self._trouble is not None:
                raise self._trouble
            if time.monotonic() > deadline:
                raise ServerUnavailable(f"{self._server} cannot be reached")

    def listen(self, stop: Event) -> None:
        """Fills the inbox until `stop` is set; in a thread of its own."""
        try:
            self._subscription.run(stop)
        except SampollError as error:
            self._trouble = error


@contextmanager
def listening(server: RedisServer, pattern: str) -> Iterator[Inbox]:
    """An inbox that a thread fills until the block ends."""
    inbox, stop = Inbox(server, pattern), Event()
    listener = Thread(target=inbox.listen, args=(stop,), name="subscription")
    listener.start()
    try:
        yield inbox
    finally:
        stop.set()
        listener.join()
