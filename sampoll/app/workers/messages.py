"""What the process that watches and its workers send each other, pickled, over one socket a worker.

Its end tells each side that the other one has ended, however that happened.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any, Literal, TypeAlias, cast

from sampoll.config.settings import Settings
from sampoll.core.errors import SampollError
from sampoll.core.events import Event, JobStarted
from sampoll.monitoring.pictures import Thumbnail
from sampoll.monitoring.queue_sizes import QueueSizes

Command: TypeAlias = Literal["run", "serve stream"]
"""A command that several processes can do together."""


@dataclass(frozen=True)
class Order:
    """What a worker does: its settings, which have nothing that the parent does itself, and its cores.
    `holds_input`: it has inherited the parent's lock of the input."""

    command: Command
    settings: Settings
    cores: frozenset[int]
    log_level: int
    service_id: str
    holds_input: bool = False


@dataclass(frozen=True)
class BegunJob:
    """What listeners need of a submission, in the place of its content."""

    id: str
    name: str


Message: TypeAlias = Event | logging.LogRecord | SampollError | Thumbnail | QueueSizes
"""From a worker: an event, a line of its log, the error that ends it, or what the status page shows."""


class Sender:
    """The worker's end; thread-safe. What is sent after the parent has ended is dropped."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection
        self._lock = Lock()

    def __call__(self, message: Message) -> None:
        if isinstance(message, JobStarted):
            begun = BegunJob(message.submission.id, message.submission.name)
            message = JobStarted(cast(Any, begun))
        with self._lock, suppress(OSError):
            self._connection.send(message)


class LogSender(QueueHandler):
    """Sends the log of a worker to the parent, which shows it with its own."""

    def __init__(self, send: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(cast(Any, None))
        self.setFormatter(logging.Formatter("%(message)s"))  # the parent adds time and level
        self._send = send

    def enqueue(self, record: logging.LogRecord) -> None:
        self._send(record)
