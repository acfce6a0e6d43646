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
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from sampoll.config.settings import Settings
from sampoll.core.errors import SampollError
from sampoll.core.events import Event, JobStarted
from sampoll.core.result_summary import ResultSummary
from sampoll.monitoring.pictures import Thumbnail
from sampoll.monitoring.queue_sizes import QueueSizes

if TYPE_CHECKING:  # these need numpy
    from sampoll.core.jobs import Submission
    from sampoll.core.results import Artifact

Command: TypeAlias = Literal["run", "serve stream", "serve http"]
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


@dataclass(frozen=True)
class PassedOn:
    """A request over HTTP that a worker is to answer, and the kind of its answer."""

    submission: "Submission"
    kind: str

    @property
    def id(self) -> str:
        return self.submission.id


@dataclass(frozen=True)
class Withdrawn:
    """The client of a request has gone."""

    id: str


AnswerContent: TypeAlias = "tuple[tuple[Artifact, ...], ResultSummary] | SampollError"
"""What an answer consists of, as `Delivery` has it, or why there is none."""


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    id: str
    content: AnswerContent


Request: TypeAlias = PassedOn | Withdrawn
"""To a worker, after its order."""
Message: TypeAlias = Event | logging.LogRecord | SampollError | Thumbnail | QueueSizes | Answer
"""From a worker: an event, a log line, the error that ends it, what the status page shows, or an answer."""


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
