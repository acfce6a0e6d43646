"""`sampoll serve http` by several processes: this one has the address, and passes the requests on."""

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from threading import Lock

from sampoll.app.assembly import named
from sampoll.app.serve_http import serving_requests
from sampoll.app.service_info import http_info
from sampoll.app.workers.messages import Answer, AnswerContent, Message, Order, PassedOn, Withdrawn
from sampoll.app.workers.shares import worker_settings
from sampoll.app.workers.team import Team, orders_of
from sampoll.config.settings import Settings
from sampoll.core.errors import SampollError, Stopped, TransientJobError
from sampoll.core.events import Listener, ModelLoaded
from sampoll.core.jobs import Submission
from sampoll.core.results import Delivery
from sampoll.core.summary import CommandSummary
from sampoll.monitoring.monitor import WorkersMonitor, monitored_workers
from sampoll.monitoring.tally import Tally

KNOWN_IMAGES = 10_000
"""Of so many images it is known which worker had them."""
LOST = "the process that worked on it has ended; send it again"


def serve_http_in_workers(settings: Settings, listeners: Sequence[Listener]) -> CommandSummary:
    """Answers requests until a signal arrives, by several processes behind one address."""
    settings, tally = named(settings), Tally()
    shares = worker_settings(settings)
    with monitored_workers(settings.monitoring, http_info(settings), list(shares), has_pages=True) as monitor:
        orders = orders_of("serve http", shares, monitor.health.id)
        team = AnsweringTeam(orders, monitor, [*listeners, tally])
        with serving_requests(settings, monitor, lambda: team if team.can_answer else None):
            team.work()
    return tally.summary()


@dataclass
class _Open:
    """A request without an answer, and the worker that has it."""

    submission: Submission
    worker: int
    future: Future[Delivery]


class AnsweringTeam(Team):
    """Answers each request by one of its workers: the one that had the image before, because it may have the
    embedding, otherwise the one with the fewest requests."""

    def __init__(
        self, orders: Mapping[int, Order], monitor: WorkersMonitor, listeners: Sequence[Listener]
    ) -> None:
        super().__init__(orders, monitor, listeners)
        self._lock = Lock()
        self._ready: set[int] = set()
        self._open: dict[str, _Open] = {}
        self._given: Counter[int] = Counter()
        self._worker_of: OrderedDict[str, int] = OrderedDict()

    @property
    def can_answer(self) -> bool:
        return bool(self._ready)

    def submit(self, submission: Submission, kind: str) -> Future[Delivery]:
        """As the routes of HTTP need it."""
        future: Future[Delivery] = Future()
        with self._lock:
            if self.is_stopped or not self._ready:
                raise Stopped("no process can take it; send it again")
            worker = self._worker_for(submission.image_sha256)
            self._open[submission.id] = _Open(submission, worker, future)
        self._workers.send(worker, PassedOn(submission, kind))
        future.add_done_callback(partial(self._withdraw, submission.id, worker))
        return future

    def take(self, worker: int, message: Message) -> None:
        """What a worker has sent."""
        match message:
            case Answer(request_id, content):
                self._answer(request_id, content)
            case ModelLoaded():
                with self._lock:
                    self._ready.add(worker)
                super().take(worker, message)
            case _:
                super().take(worker, message)

    def note_end(self, worker: int, *, is_final: bool) -> None:
        """A worker has ended, with what it had."""
        with self._lock:
            self._ready.discard(worker)
            lost = [request_id for request_id, each in self._open.items() if each.worker == worker]
        for request_id in lost:
            self._answer(request_id, TransientJobError(LOST))
        super().note_end(worker, is_final=is_final)

    def _worker_for(self, image_sha256: str) -> int:
        """With the lock held."""
        worker = self._worker_of.pop(image_sha256, None)
        if worker not in self._ready:
            busy = Counter(each.worker for each in self._open.values())
            worker = min(self._ready, key=lambda each: (busy[each], self._given[each]))
        self._given[worker] += 1
        self._worker_of[image_sha256] = worker
        if len(self._worker_of) > KNOWN_IMAGES:
            self._worker_of.popitem(last=False)
        return worker

    def _answer(self, request_id: str, content: AnswerContent) -> None:
        with self._lock:
            request = self._open.pop(request_id, None)
        if request is None or not request.future.set_running_or_notify_cancel():
            return
        if isinstance(content, SampollError):
            request.future.set_exception(content)
        else:
            request.future.set_result(Delivery(request.submission, *content))

    def _withdraw(self, request_id: str, worker: int, future: Future[Delivery]) -> None:
        """Tells the worker if the client has gone."""
        if future.cancelled():
            with self._lock:
                self._open.pop(request_id, None)
            self._workers.send(worker, Withdrawn(request_id))
