"""`sampoll serve http`: a model behind an address, for any number of clients."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event

import orjson

from sampoll.app.api_page import api_page
from sampoll.app.assembly import decoding_options, format_options, named
from sampoll.app.in_process import InProcess
from sampoll.app.job_tree import JobTree
from sampoll.app.reply_formats import UnionMask
from sampoll.app.signals import STOPPING, outside_the_main_thread, stopping_on_signals
from sampoll.config.settings import Settings
from sampoll.core.events import Listener, StopRequested, broadcast
from sampoll.core.protocols import Format
from sampoll.core.summary import CommandSummary
from sampoll.formats.registry import load_format
from sampoll.inputs.common_prompt import default_prompt
from sampoll.models.registry import find_factory
from sampoll.monitoring.monitor import Monitor, ServiceInfo, monitored
from sampoll.monitoring.server import serving
from sampoll.monitoring.tally import Tally
from sampoll.monitoring.web import HTML, PAGE_POLICY
from sampoll.transports.http.access import Access, access_of
from sampoll.transports.http.answer import JSON, PNG, ZIP
from sampoll.transports.http.application import Document, Served, application_of
from sampoll.transports.http.openapi import openapi_document

log = logging.getLogger(__name__)


def serve_http(settings: Settings, listeners: Sequence[Listener]) -> CommandSummary:
    """Answers requests until a signal arrives, beside health, metrics and the status page; returns a summary.
    What has begun then is finished.

    Raises SampollError if it cannot continue.
    """
    settings = named(settings)
    find_factory(settings.model)  # an unknown model is refused before the port is opened
    access = access_of(settings.web)
    jobs = None if settings.spool.input is None else JobTree(settings)
    info = ServiceInfo({"service": "serve http", "server": settings.web.bind})
    tally, default = Tally(), settings.spool.default_prompt
    with monitored(settings.monitoring, info, has_pages=True) as monitor:
        emit = broadcast([*listeners, tally, *monitor.listeners])
        service = _Service(settings, monitor, emit)
        served = Served(
            lambda: service.engine,
            formats_for(settings),
            settings.limits,
            settings.requests.queue_bytes,
            access,
            None if default is None else default_prompt(default, decoding_options(settings)).content,
            jobs,
        )
        assert monitor.application is not None
        documents = documents_for(access, has_jobs=jobs is not None, needs_prompt=default is None)
        application = application_of(served, documents, monitor.application.beside)
        with (
            stopping_on_signals(service.stop),
            serving(*settings.web.address, application, "--bind") as url,
        ):
            outside_the_main_thread(partial(service.run, url))
    return tally.summary()


@dataclass
class _Service:
    """The model, from its loading to its end. `engine` is None while it is being loaded."""

    settings: Settings
    monitor: Monitor
    emit: Listener
    engine: InProcess | None = None
    _stop: Event = field(default_factory=Event)

    def stop(self) -> None:
        """Finishes what has begun; may be called from any thread."""
        log.info(STOPPING, extra={"event": "stopping"})
        self.emit(StopRequested())
        self._stop.set()
        if self.engine is not None:
            self.engine.stop()

    def run(self, url: str) -> None:
        """Returns after `stop`; raises what has ended the service."""
        engine = InProcess(
            self.settings, emit=self.emit, formats=self.monitor.formats, queues=self.monitor.queues
        )
        log.info("%s: ready", url, extra={"event": "ready"})
        self.engine = engine
        if self._stop.is_set():
            engine.stop()
        engine.ended.result()


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


def formats_for(settings: Settings) -> Mapping[str, Sequence[Format]]:
    """What is rendered for each kind of answer."""
    options = format_options(settings)
    record = load_format("opex", options)
    return {JSON: [record], PNG: [UnionMask()], ZIP: [load_format("png", options), record]}
