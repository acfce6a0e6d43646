"""Prompts served over Redis: settings in, a finished service and its exit code out."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
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
"""Jobs that a worker holds for each image of a batch: its model stays busy, and the rest is for others."""


def serve_redis(
    settings: Settings,
    listeners: Sequence[Listener],
    *,
    embedded: bool = False,
    segmenter: Mapping[str, Any] | None = None,
    ignores_unknown_keys: bool = False,
) -> str:
    """Answers requests until a signal comes; returns a summary in one line. `segmenter` is what replies say
    about the model.

    Raises SampollError for whatever keeps it from going on.
    """
    defaults = RedisSettings()
    if embedded and (settings.redis.redis_url or settings.redis.redis_host != defaults.redis_host):
        raise UsageError("--embedded starts a server of its own: leave redis-url and redis-host out")
    factory = find_factory(settings.model)
    decoding = decoding_options(settings, ignores_unknown_keys=ignores_unknown_keys)
    server = server_of(settings.redis)
    tally, stop = Tally(), threading.Event()
    options = PubSubOptions(
        settings.redis, settings.requests, settings.limits, segmenter or segmenter_meta(settings.model)
    )
    with ExitStack() as stack:
        monitor = stack.enter_context(monitored(settings.monitoring, _service_info("serve redis", settings)))
        emit = broadcast([*listeners, tally, *monitor.listeners])
        stack.enter_context(stopping_on_signals(partial(_stop, stop, emit)))
        stack.enter_context(embedded_server(server.port) if embedded else nullcontext())
        # Whatever comes while the model is loading waits for it.
        transport = stack.enter_context(
            pubsub_transport(server, options, emit, partial(_black_mask, decoding))
        )
        outside_the_main_thread(
            partial(
                _serve, settings, factory, decoding, lambda _: nullcontext(transport), stop, emit, monitor
            )
        )
    gaps = transport.gaps
    return (
        f"{tally.summary()}; {transport.lost_replies} replies lost, "
        f"{gaps.count} gaps in the subscription, {gaps.seconds:.1f} s in all"
    )


def serve_stream(settings: Settings, listeners: Sequence[Listener]) -> str:
    """Works on the jobs of a stream until a signal comes; returns a summary in one line.

    Raises SampollError for whatever keeps it from going on.
    """
    factory = find_factory(settings.model)
    decoding = decoding_options(settings)
    tally, stop = Tally(), threading.Event()

    def transport(device: str) -> AbstractContextManager[Transport]:
        options = StreamOptions(
            SLOTS_PER_IMAGE * settings.model.batch_size_on(device),
            settings.streams,
            settings.spool.max_attempts,
            settings.limits,
            segmenter_meta(settings.model),
        )
        return stream_transport(worker, options, emit, partial(_black_mask, decoding), stop)

    with monitored(settings.monitoring, _service_info("serve stream", settings)) as monitor:
        emit = broadcast([*listeners, tally, *monitor.listeners])
        worker = Worker(
            server_of(settings.redis),
            settings.streams,
            settings.spool.lease_seconds,
            emit,
            lambda: monitor.health.is_healthy,
        )
        with stopping_on_signals(partial(_stop, stop, emit)):
            outside_the_main_thread(
                partial(_serve, settings, factory, decoding, transport, stop, emit, monitor)
            )
    counts = worker.counts
    return f"{tally.summary()}; {counts.lost} taken by others, {counts.trimmed} deleted before they were done"


def _serve(
    settings: Settings,
    factory: Factory,
    decoding: DecodingOptions,
    transport_for: Callable[[str], AbstractContextManager[Transport]],
    stop: threading.Event,
    emit: Listener,
    monitor: Monitor,
) -> None:
    """Loads the model, and serves the transport for the device on which it is."""
    model = load_model(settings.model, factory)
    options = format_options(settings)
    formats = [
        load_format("png", options),
        load_format("opex", options),
        UnionMask(),
        ContourLists(options.simplify_pixels),
    ]
    with transport_for(model.segmenter.info.device) as transport:
        log.info("%s: ready", server_of(settings.redis))
        emit(ModelLoaded(model.segmenter.info))
        service_of(
            settings,
            transport,
            model,
            model.decode_with(decoding),
            [*monitor.formats, *formats],
            emit=emit,
            queues=monitor.queues,
        ).run(stop)


def segmenter_meta(settings: ModelSettings) -> dict[str, str]:
    """What replies say about the model, in the words of the SAM image."""
    return {
        "type": str(attribute_of(find_factory(settings), "reply_type") or settings.model),
        "model_type": settings.model,
        "model_file": "" if settings.checkpoint is None else str(settings.checkpoint),
    }


def _black_mask(decoding: DecodingOptions, image: bytes) -> bytes:
    size = image_size(image, decoding.exif) if image else None
    return blank(BLACK_PIXEL if size is None or size[0] * size[1] > decoding.limits.max_pixels else size)


def _service_info(service: str, settings: Settings) -> ServiceInfo:
    return ServiceInfo({"service": service, "server": str(server_of(settings.redis))})


def _stop(stop: threading.Event, emit: Listener) -> None:
    log.info(STOPPING)
    emit(StopRequested())
    stop.set()
