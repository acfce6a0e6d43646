"""`sampoll recv`: the replies on a channel as files."""

import logging
import time
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread

from sampoll.errors import CutShort, JobError, SampollError, translated_os_errors
from sampoll.naming import printable
from sampoll.reply_files import files_of, name_for, write_files
from sampoll.signals import outside_the_main_thread, stopping_on_signals
from sampoll.transports.pubsub.link import RedisServer
from sampoll.transports.pubsub.messages import parse_reply
from sampoll.transports.pubsub.subscription import Subscription

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2


def receive(
    server: RedisServer, pattern: str, output: Path, *, count: int | None, timeout_seconds: float | None
) -> tuple[int, str]:
    """Writes replies until a signal comes, `count` have come, or none for `timeout_seconds`; returns the exit
    code and a summary in one line."""
    receiver = _Receiver(
        Subscription(server, pattern, lambda _, message: receiver.messages.put(message)), output
    )
    stop = Event()
    with stopping_on_signals(stop.set):
        outside_the_main_thread(partial(receiver.run, stop, count, timeout_seconds))
    summary = f"{receiver.written} written, {receiver.failed} failed"
    if count is not None and receiver.written + receiver.failed < count:
        return CutShort.exit_code, f"{summary}; {count} were expected"
    return (JobError.exit_code if receiver.failed else 0), summary


class _Receiver:
    def __init__(self, subscription: Subscription, output: Path) -> None:
        self.messages: SimpleQueue[bytes] = SimpleQueue()
        self.written = 0
        self.failed = 0
        self._subscription = subscription
        self._output = output
        self._trouble: SampollError | None = None

    def run(self, stop: Event, count: int | None, timeout_seconds: float | None) -> None:
        deaf = Event()
        listener = Thread(target=self._listen, args=(deaf,), name="subscription")
        listener.start()
        try:
            last = time.monotonic()
            while not stop.is_set() and (count is None or self.written + self.failed < count):
                if self._trouble is not None:
                    raise self._trouble
                try:
                    self._write(self.messages.get(timeout=LOOK_SECONDS))
                    last = time.monotonic()
                except Empty:
                    if timeout_seconds is not None and time.monotonic() - last > timeout_seconds:
                        return
        finally:
            deaf.set()
            listener.join()

    def _listen(self, deaf: Event) -> None:
        try:
            self._subscription.run(deaf)
        except SampollError as error:
            self._trouble = error

    def _write(self, message: bytes) -> None:
        try:
            reply = parse_reply(message)
        except ValueError as error:
            log.warning("%s", error)
            return
        name = name_for(reply)
        if reply.error is not None:
            log.error("%s: %s", printable(name), reply.error)
            self.failed += 1
            return
        with translated_os_errors("write into", self._output):
            stem = write_files(self._output, name, files_of(reply, name))
        log.info("%s: written", printable(stem))
        self.written += 1
