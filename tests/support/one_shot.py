"""The transport in memory for tests that run a service once, over submissions that are known before."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Event
from typing import Any

from sampoll.core.errors import Stopped
from sampoll.core.events import Listener, ignore_events
from sampoll.core.jobs import Submission
from sampoll.core.results import Delivery
from sampoll.transports.memory import MemoryTransport


class OneShot(MemoryTransport):
    """Hands out `waiting`, and collects what becomes of it, by name. After `close`, `waiting` is what was
    handed back."""

    def __init__(
        self, waiting: Sequence[Submission] = (), emit: Listener = ignore_events, **options: Any
    ) -> None:
        super().__init__(emit, **options)
        self.waiting = list(waiting)
        self.delivered: dict[str, Mapping[str, bytes]] = {}
        self.rejected: dict[str, BaseException] = {}

    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        if not stop.is_set():
            for each in self.waiting:
                self.submit(each).add_done_callback(partial(self._collect, each))
            self.waiting = []
            self.finish()
        yield from super().submissions(stop)

    def _collect(self, submission: Submission, future: Future[Delivery]) -> None:
        error = future.exception()
        if isinstance(error, Stopped):
            self.waiting.append(submission)
        elif error is not None:
            self.rejected[submission.name] = error
        else:
            artifacts = future.result().artifacts
            self.delivered[submission.name] = {each.suffix: each.content for each in artifacts}
