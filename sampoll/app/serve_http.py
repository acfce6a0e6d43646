"""`sampoll serve http`: a model behind an address, for any number of clients."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Event

import orjson

from sampoll.app.api_page import api_page
from sampoll.app.assembly import decoding_options, named
from sampoll.app.http_engine import HttpEngine
from sampoll.app.in_process import InProcess
from sampoll.app.job_tree import JobTree
from sampoll.app.service_info import http_info
from sampoll.app.signals import STOPPING, outside_the_main_thread, stopping_on_signals
from sampoll.config.settings import Settings
from sampoll.core.events import Listener, StopRequested, broadcast
from sampoll.core.summary import CommandSummary
from sampoll.inputs.common_prompt import default_prompt
from sampoll.models.registry import find_factory, prompts_taken
from sampoll.monitoring.monitor import Monitor, WorkersMonitor, monitored
from sampoll.monitoring.server import serving
from sampoll.monitoring.tally import Tally
from sampoll.monitoring.web import HTML, PAGE_POLICY
from sampoll.transports.http.access import Access, access_of
from sampoll.transports.http.answer import JSON
from sampoll.transports.http.application import Document, application_of
from sampoll.transports.http.asking import FindEngine
from sampoll.transports.http.jobs import Jobs
from sampoll.transports.http.label_studio.images import LabelStudioImages, place_of
from sampoll.transports.http.label_studio.routes import LabelStudioRoutes
from sampoll.transports.http.native import NativeRoutes
from sampoll.transports.http.openapi import openapi_document
from sampoll.transports.http.operation import Operation
from sampoll.transports.http.x_anylabeling import XAnyLabelingRoutes

log = logging.getLogger(__name__)


def serve_http(settings: Settings, listeners: Sequence[Listener]) -> CommandSummary:
    """Answers requests until a signal arrives, beside health, metrics and the status page; returns a summary.
    What has begun then is finished.

    Raises SampollError if it cannot continue.
    """
    settings, tally = named(settings), Tally()
    with monitored(settings.monitoring, http_info(settings), has_pages=True) as monitor:
        service = ModelService(settings, monitor, broadcast([*listeners, tally, *monitor.listeners]))
        with (
            stopping_on_signals(service.stop),
            serving_requests(settings, monitor, lambda: service.engine) as url,
        ):
            outside_the_main_thread(partial(service.run, url))
    return tally.summary()


@contextmanager
def serving_requests(
    settings: Settings, monitor: Monitor | WorkersMonitor, engine: FindEngine
) -> Iterator[str]:
    """Serves the routes of `engine` beside the pages of the monitor, until the block ends; the URL."""
    find_factory(settings.model)  # an unknown model is refused before the port is opened
    access, jobs = access_of(settings.web), None if settings.spool.input is None else JobTree(settings)
    assert monitor.application is not None
    application = application_of(
        operations_for(settings, engine, access, jobs),
        documents_for(access, has_jobs=jobs is not None, needs_prompt=settings.spool.default_prompt is None),
        access,
        settings.requests.queue_bytes,
        monitor.application.beside,
    )
    with serving(*settings.web.address, application, "--bind") as url:
        yield url


def operations_for(
    settings: Settings, engine: FindEngine, access: Access, jobs: Jobs | None
) -> Iterator[Operation]:
    """The routes of each kind of client."""
    default = settings.spool.default_prompt
    prompt = None if default is None else default_prompt(default, decoding_options(settings)).content
    yield from NativeRoutes(engine, settings.limits, access, prompt, jobs).operations()
    place = place_of(settings.label_studio)
    images = None if place is None else LabelStudioImages(place, settings.limits.max_image_bytes)
    model = settings.model
    yield from LabelStudioRoutes(
        engine, settings.limits, access, images, model.model, model.exif
    ).operations()
    takes_words = "text" in prompts_taken(model)
    yield from XAnyLabelingRoutes(
        engine, settings.limits, access, model.model, model.exif, takes_words
    ).operations()


@dataclass
class ModelService:
    """The model, from its loading to its end. `engine` is None while it is being loaded."""

    settings: Settings
    monitor: Monitor
    emit: Listener
    on_ready: Callable[[HttpEngine], None] = lambda _: None
    engine: HttpEngine | None = None
    _model: InProcess | None = None
    _stop: Event = field(default_factory=Event)

    def stop(self) -> None:
        """Finishes what has begun; may be called from any thread."""
        log.info(STOPPING, extra={"event": "stopping"})
        self.emit(StopRequested())
        self._stop.set()
        if self._model is not None:
            self._model.stop()

    def run(self, place: str) -> None:
        """Returns after `stop`; raises what has ended the service."""
        model = InProcess(
            self.settings, emit=self.emit, formats=self.monitor.formats, queues=self.monitor.queues
        )
        log.info("%s: ready", place, extra={"event": "ready"})
        self._model, self.engine = model, HttpEngine(model)
        self.on_ready(self.engine)
        if self._stop.is_set():
            model.stop()
        model.ended.result()


def documents_for(access: Access, *, has_jobs: bool = False, needs_prompt: bool = True) -> Sequence[Document]:
    """The description of the routes, for programs and for people."""
    openapi = openapi_document(
        needs_token=access.token is not None, has_jobs=has_jobs, needs_prompt=needs_prompt
    )
    page = api_page(openapi).encode()
    return [
        Document("/openapi.json", JSON, orjson.dumps(openapi)),
        Document("/docs", HTML, page, {PAGE_POLICY[0]: PAGE_POLICY[1]}),
    ]
