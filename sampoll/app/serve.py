"""The services over Redis: answer requests on a channel, or work on the jobs of a stream."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from sampoll.app.assembly import decoding_options, format_options, load_model, service_of
from sampoll.app.reply_formats import ContourLists, UnionMask, blank
from sampoll.app.signals import STOPPING, outside_the_main_thread, stopping_on_signals
from sampoll.config.settings import ModelSettings, RedisSettings, Settings
from sampoll.core.errors import UsageError
from sampoll.core.events import Listener, ModelLoaded, StopRequested, broadcast
from sampoll.core.protocols import Transport
from sampoll.formats.registry import load_format
from sampoll.inputs.decode import DecodingOptions, image_size
from sampoll.models.registry import Factory, attribute_of, find_factory
from sampoll.monitoring.console import Tally
from sampoll.monitoring.monitor import Monitor, ServiceInfo, monitored
from sampoll.transports.redis.embedded_server import embedded_server
from sampoll.transports.redis.pubsub.transport import PubSubOptions, pubsub_transport
from sampoll.transports.redis.server import server_of
from sampoll.transports.redis.streams.transport import StreamOptions, stream_transport
from sampoll.transports.redis.streams.worker import Worker

log = logging.getLogger(__name__)

BLACK_PIXEL = (1, 1)
SLOTS_PER_IMAGE = 4
"""Jobs that a worker holds per image of a batch: enough to keep its model busy; others can take the rest."""


def serve_redis(
    settings: Settings,
    listeners: Sequence[Listener],
    *,
    embedded: bool = False,
    segmenter: Mapping[str, Any] | None = None,
    ignores_unknown_keys: bool = False,
) -> str:
    """Answers requests until a signal arrives; returns a summary in one line. `segmenter` is what replies
    contain about the model.

    Raises SampollError if it cannot continue.
    """
    defaults = RedisSettings()
    if embedded and (settings.redis.redis_url or settings.redis.redis_host != defaults.redis_host):
        raise UsageError("--embedded starts a server of its own: leave redis-url and redis-host out")
    server = server_of(settings.redis)
    options = PubSubOptions(
        settings.redis, settings.requests, settings.limits, segmenter or segmenter_meta(settings.model)
    )
    with (
        _service(
            "serve redis", str(server), settings, listeners, ignores_unknown_keys=ignores_unknown_keys
        ) as service,
        embedded_server(server.port) if embedded else nullcontext(),
        # Before the model is loaded, so that requests can already arrive and wait for it.
        pubsub_transport(server, options, service.emit, service.black_mask) as transport,
    ):
        service.serve(lambda _: nullcontext(transport))
    gaps = transport.gaps
    return (
        f"{service.tally.summary()}; {transport.lost_replies} replies lost, "
        f"{gaps.count} gaps in the subscription, {gaps.seconds:.1f} s in all"
    )


def serve_stream(settings: Settings, listeners: Sequence[Listener]) -> str:
    """Works on the jobs of a stream until a signal arrives; returns a summary in one line.

    Raises SampollError if it cannot continue.
    """
    server, segmenter = server_of(settings.redis), segmenter_meta(settings.model)
    with _service("serve stream", str(server), settings, listeners) as service:
        worker = Worker(
            server,
            settings.streams,
            settings.spool.lease_seconds,
            service.emit,
            lambda: service.monitor.health.is_healthy,
        )

        def transport(device: str) -> AbstractContextManager[Transport]:
            options = StreamOptions(
                SLOTS_PER_IMAGE * settings.model.batch_size_on(device),
                settings.streams,
                settings.spool.max_attempts,
                settings.limits,
                segmenter,
            )
            return stream_transport(worker, options, service.emit, service.black_mask, service.stop)

        service.serve(transport)
    counts = worker.counts
    return (
        f"{service.tally.summary()}; {counts.lost} taken by others, "
        f"{counts.trimmed} deleted before they were done"
    )


@dataclass(frozen=True)
class _Service:
    """The parts that every service has, except its transport. `server` says where its jobs come from."""

    server: str
    settings: Settings
    factory: Factory
    decoding: DecodingOptions
    tally: Tally
    monitor: Monitor
    emit: Listener
    stop: threading.Event

    def serve(self, transport_for: Callable[[str], AbstractContextManager[Transport]]) -> None:
        """Loads the model, and serves the transport made for its device until a signal arrives."""
        outside_the_main_thread(partial(self._serve, transport_for))

    def _serve(self, transport_for: Callable[[str], AbstractContextManager[Transport]]) -> None:
        settings, model = self.settings, load_model(self.settings.model, self.factory)
        options = format_options(settings)
        formats = [
            load_format("png", options),
            load_format("opex", options),
            UnionMask(),
            ContourLists(options.simplify_pixels),
        ]
        with transport_for(model.segmenter.info.device) as transport:
            log.info("%s: ready", self.server)
            self.emit(ModelLoaded(model.segmenter.info))
            service_of(
                settings,
                transport,
                model,
                model.decode_with(self.decoding),
                [*self.monitor.formats, *formats],
                emit=self.emit,
                queues=self.monitor.queues,
            ).run(self.stop)

    def black_mask(self, image: bytes) -> bytes:
        """The empty mask for failed requests: of the image's size, or 1 x 1 if unknown or too large."""
        size = image_size(image, self.decoding.exif) if image else None
        max_pixels = self.decoding.limits.max_pixels
        return blank(BLACK_PIXEL if size is None or size[0] * size[1] > max_pixels else size)

    def request_stop(self) -> None:
        log.info(STOPPING)
        self.emit(StopRequested())
        self.stop.set()


@contextmanager
def _service(
    name: str,
    server: str,
    settings: Settings,
    listeners: Sequence[Listener],
    *,
    ignores_unknown_keys: bool = False,
) -> Iterator[_Service]:
    """A service that is monitored, and is stopped by signals, until the block ends."""
    factory = find_factory(settings.model)
    decoding = decoding_options(settings, ignores_unknown_keys=ignores_unknown_keys)
    tally = Tally()
    with monitored(settings.monitoring, ServiceInfo({"service": name, "server": server})) as monitor:
        emit = broadcast([*listeners, tally, *monitor.listeners])
        service = _Service(server, settings, factory, decoding, tally, monitor, emit, threading.Event())
        with stopping_on_signals(service.request_stop):
            yield service


def segmenter_meta(settings: ModelSettings) -> dict[str, str]:
    """What replies contain about the model, under the keys of the SAM Docker image."""
    return {
        "type": str(attribute_of(find_factory(settings), "reply_type") or settings.model),
        "model_type": settings.model,
        "model_file": "" if settings.checkpoint is None else str(settings.checkpoint),
    }
