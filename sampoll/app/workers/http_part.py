"""A worker of `sampoll serve http`: it answers what the parent passes on."""

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread

from sampoll.app.http_engine import HttpEngine
from sampoll.app.serve_http import ModelService
from sampoll.app.service_info import http_info
from sampoll.app.signals import outside_the_main_thread, stopping_on_signals
from sampoll.app.workers.messages import Answer, AnswerContent, Message, PassedOn, Request, Withdrawn
from sampoll.config.settings import Settings
from sampoll.core.errors import SampollError, TransientJobError
from sampoll.core.events import broadcast
from sampoll.core.results import Delivery
from sampoll.monitoring.monitor import PartOf, monitored


def answer_requests(
    settings: Settings, send: Callable[[Message], None], inbox: "SimpleQueue[Request]", part_of: PartOf
) -> None:
    """Loads the model, and answers requests until a signal arrives; what has begun then is finished."""
    with monitored(settings.monitoring, http_info(settings), part_of=part_of) as monitor:
        emit = broadcast([send, *monitor.listeners])
        service = ModelService(settings, monitor, emit, partial(_answer_in_a_thread, inbox, send))
        with stopping_on_signals(service.stop):
            outside_the_main_thread(partial(service.run, settings.web.bind))


def _answer_in_a_thread(
    inbox: "SimpleQueue[Request]", send: Callable[[Message], None], engine: HttpEngine
) -> None:
    answering = _Answering(engine, send)
    Thread(target=answering.run, args=(inbox,), name="requests", daemon=True).start()


class _Answering:
    def __init__(self, engine: HttpEngine, send: Callable[[Message], None]) -> None:
        self._engine = engine
        self._send = send
        self._futures: dict[str, Future[Delivery]] = {}

    def run(self, inbox: "SimpleQueue[Request]") -> None:
        while True:
            match inbox.get():
                case PassedOn() as request:
                    self._begin(request)
                case Withdrawn(request_id):
                    if (future := self._futures.get(request_id)) is not None:
                        future.cancel()

    def _begin(self, request: PassedOn) -> None:
        try:
            future = self._engine.submit(request.submission, request.kind)
        except SampollError as error:
            self._send(Answer(request.id, error))
            return
        self._futures[request.id] = future
        future.add_done_callback(partial(self._end, request.id))

    def _end(self, request_id: str, future: Future[Delivery]) -> None:
        del self._futures[request_id]
        if not future.cancelled():
            self._send(Answer(request_id, _content(future)))


def _content(future: Future[Delivery]) -> AnswerContent:
    error = future.exception()
    if error is None:
        delivery = future.result()
        return delivery.artifacts, delivery.summary
    return error if isinstance(error, SampollError) else TransientJobError(str(error))
