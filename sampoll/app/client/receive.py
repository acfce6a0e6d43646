"""`sampoll recv`: writes replies from a channel or a stream into files."""

import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Protocol

from sampoll.app.client.reply_files import files_of, name_for, write_files
from sampoll.app.signals import outside_the_main_thread, stopping_on_signals
from sampoll.core.errors import Interrupted, JobError, translated_os_errors
from sampoll.core.names import printable
from sampoll.transports.redis.messages import parse_reply

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where replies come from."""

    def next(self) -> bytes | None:
        """The next reply, or None if none arrives within a short timeout."""

    def settle(self) -> None:
        """Called once the last reply has been processed."""


def receive(
    source: Source, output: Path, *, count: int | None, timeout_seconds: float | None
) -> tuple[int, str]:
    """Writes replies until a signal arrives, `count` are processed, or none arrives for `timeout_seconds`;
    returns the exit code and a summary in one line."""
    receiver, stop = _Receiver(output, count, timeout_seconds), Event()
    with stopping_on_signals(stop.set):
        outside_the_main_thread(partial(receiver.run, source, stop))
    summary = f"{receiver.written} written, {receiver.failed} failed"
    if not receiver.is_done and count is not None:
        return Interrupted.exit_code, f"{summary}; {count} were expected"
    return (JobError.exit_code if receiver.failed else 0), summary


@dataclass
class _Receiver:
    output: Path
    count: int | None
    timeout_seconds: float | None
    written: int = 0
    failed: int = 0

    @property
    def is_done(self) -> bool:
        return self.count is not None and self.written + self.failed >= self.count

    def run(self, source: Source, stop: Event) -> None:
        last = time.monotonic()
        while not (stop.is_set() or self.is_done):
            message = source.next()
            if message is not None:
                self._write(message)
                source.settle()
                last = time.monotonic()
            elif self.timeout_seconds is not None and time.monotonic() - last > self.timeout_seconds:
                return

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
        with translated_os_errors("write into", self.output):
            stem = write_files(self.output, name, files_of(reply, name))
        log.info("%s: written", printable(stem))
        self.written += 1
