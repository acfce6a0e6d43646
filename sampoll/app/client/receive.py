"""`sampoll recv`: writes replies from a channel or a stream into files."""

import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Protocol

from sampoll.app.client.reply_files import (
    log_skipped_prompts,
    name_for,
    time_name,
    write_files,
)
from sampoll.app.client.reply_record import ReplyFiles, files_of
from sampoll.app.signals import outside_the_main_thread, stopping_on_signals
from sampoll.core.errors import Interrupted, JobError, translated_os_errors
from sampoll.core.names import printable
from sampoll.core.summary import CommandSummary
from sampoll.core.wording import counted
from sampoll.transports.redis.replies import NoReply, parse_reply

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where replies come from."""

    def next(self) -> bytes | None:
        """The next reply, or None if none arrives within a short timeout."""

    @property
    def last(self) -> str:
        """The place of the last reply, as text for messages."""

    def settle(self) -> None:
        """Called once the last reply has been processed; one that is not is left where it is."""


def receive(
    source: Source, output: Path, *, count: int | None, timeout_seconds: float | None
) -> tuple[int, CommandSummary]:
    """Writes replies until a signal arrives, `count` are processed, or none arrives for `timeout_seconds`;
    returns the exit code and a summary."""
    receiver, stop = _Receiver(output, count, timeout_seconds), Event()
    with stopping_on_signals(stop.set):
        outside_the_main_thread(partial(receiver.run, source, stop))
    figures = {"written": receiver.written, "failed": receiver.failed, "unreadable": receiver.unreadable}
    line = f"{receiver.written} written, {receiver.failed} failed"
    if receiver.unreadable:
        line += f", {receiver.unreadable} unreadable"
    if receiver.skipped_prompts:
        figures["skipped_prompts"] = receiver.skipped_prompts
        line += f", {counted(receiver.skipped_prompts, 'bad prompt')} skipped"
    summary = CommandSummary(line, figures)
    if count is not None and receiver.processed + receiver.unreadable < count:
        return Interrupted.exit_code, replace(summary, line=f"{line}; {count} were expected")
    return (JobError.exit_code if receiver.failed or receiver.unreadable else 0), summary


@dataclass
class _Receiver:
    output: Path
    count: int | None
    timeout_seconds: float | None
    written: int = 0
    failed: int = 0
    unreadable: int = 0
    skipped_prompts: int = 0

    @property
    def processed(self) -> int:
        return self.written + self.failed

    def run(self, source: Source, stop: Event) -> None:
        last = time.monotonic()
        while not (stop.is_set() or self.processed == self.count):
            message = source.next()
            if message is not None:
                if self._process(message, source.last):
                    source.settle()
                last = time.monotonic()
            elif self.timeout_seconds is not None and time.monotonic() - last > self.timeout_seconds:
                return

    def _process(self, message: bytes, place: str) -> bool:
        """Whether the message was a reply, and is written or reported."""
        try:
            reply = parse_reply(message)
            name = name_for(reply)
            files = None if reply.error is not None else files_of(reply)
        except NoReply as error:
            log.error("%s: %s", place, error)
            self.unreadable += 1
            return False
        if files is None:
            log.error("%s: %s", printable(name), reply.error)
            self.failed += 1
            return True
        with translated_os_errors("write into", self.output):
            stem = _written(self.output, name, files)
        log.info("%s: written", printable(stem))
        self.written += 1
        self.skipped_prompts += log_skipped_prompts(stem, reply)
        return True


def _written(output: Path, name: str, files: ReplyFiles) -> str:
    """The name of the written files: the time, if there cannot be a file of that `name` in the output."""
    try:
        return write_files(output, name, files)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):  # a file where a folder is to be
        return write_files(output, time_name(), files)
