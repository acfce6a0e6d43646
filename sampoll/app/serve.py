"""Prompts served over Redis: settings in, a finished service and its exit code out."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from threading import Event
from typing import Any

from sampoll.app.assembly import decoding_options, format_options, load_model, service_of
from sampoll.app.reply_formats import ContourLists, UnionMask, blank
from sampoll.app.signals import STOPPING, outside_the_main_thread, stopping_on_signals
from sampoll.config.settings import ModelSettings, RedisSettings, Settings
from sampoll.core.errors import UsageError
from sampoll.core.events import Broadcast, Events
from sampoll.core.protocols import Transport
from sampoll.formats.registry import load_format
from sampoll.inputs.decode import DecodingOptions, image_size
from sampoll.models.registry import Factory, find_factory
from sampoll.monitoring.console import Tally
from sampoll.monitoring.monitor import Monitor, Place, monitored
from sampoll.transports.redis.embedded_server import embedded_server
from sampoll.transports.redis.pubsub.transport import PubSubOptions, pubsub_transport
from sampoll.transports.redis.server import server_of
from sampoll.transports.redis.streams.transport import StreamOptions, stream_transport
from sampoll.transports.redis.streams.worker import Worker

log = logging.getLogger(__name__)

BLACK_PIXEL = (1, 1)
SLOTS_AN_IMAGE = 4
"""Jobs that a worker holds for each image of a batch: its model stays busy, and the rest is for others."""
SAM_MODELS = ("vit_b", "vit_l", "vit_h")


def serve_redis(
    settings: Settings,
    listeners: Sequence[Events],
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
    tally, stop = Tally(), Event()
    options = PubSubOptions(
        redis_in=settings.redis.redis_in,
        redis_out=settings.redis.redis_out,
        queue_bytes=settings.requests.queue_bytes,
        reply_ttl_seconds=settings.requests.reply_ttl_seconds,
        max_image_bytes=settings.limits.max_image_bytes,
        segmenter=segmenter or segmenter_meta(settings.model),
    )
    with ExitStack() as stack:
        monitor = stack.enter_context(monitored(settings.monitoring, _place("serve redis", settings)))
        events = Broadcast([*listeners, tally, *monitor.listeners])
        stack.enter_context(stopping_on_signals(partial(_stop, stop, events)))
        stack.enter_context(embedded_server(server.port) if embedded else nullcontext())
        # Whatever comes while the model is loading waits for it.
        transport = stack.enter_context(
            pubsub_transport(server, options, events, partial(_black_mask, decoding))
        )
        outside_the_main_thread(
            partial(
                _serve, settings, factory, decoding, lambda _: nullcontext(transport), stop, events, monitor
            )
        )
    gaps = transport.gaps
    return (
        f"{tally.summary()}; {transport.lost_replies} replies lost, "
        f"{gaps.count} gaps in the subscription, {gaps.seconds:.1f} s in all"
    )


def serve_stream(settings: Settings, listeners: Sequence[Events]) -> str:
    """Works on the jobs of a stream until a signal comes; returns a summary in one line.

    Raises SampollError for whatever keeps it from going on.
    """
    factory = find_factory(settings.model)
    decoding = decoding_options(settings)
    tally, stop = Tally(), Event()

    def transport(device: str) -> AbstractContextManager[Transport]:
        options = StreamOptions(
            slots=SLOTS_AN_IMAGE * settings.model.batch_size_on(device),
            max_attempts=settings.spool.max_attempts,
            result_ttl_seconds=settings.streams.result_ttl_seconds,
            max_image_bytes=settings.limits.max_image_bytes,
            root=settings.streams.root,
            segmenter=segmenter_meta(settings.model),
        )
        return stream_transport(worker, options, events, partial(_black_mask, decoding), stop)

    with monitored(settings.monitoring, _place("serve stream", settings)) as monitor:
        events = Broadcast([*listeners, tally, *monitor.listeners])
        worker = Worker(
            server_of(settings.redis),
            settings.streams.stream,
            settings.streams.group,
            settings.spool.lease_seconds,
            events,
            lambda: monitor.vitals.is_healthy,
        )
        with stopping_on_signals(partial(_stop, stop, events)):
            outside_the_main_thread(
                partial(_serve, settings, factory, decoding, transport, stop, events, monitor)
            )
    counts = worker.counts
    return f"{tally.summary()}; {counts.lost} taken by others, {counts.trimmed} deleted before they were done"


def _serve(
    settings: Settings,
    factory: Factory,
    decoding: DecodingOptions,
    transport_for: Callable[[str], AbstractContextManager[Transport]],
    stop: Event,
    events: Events,
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
        events.working(model.segmenter.info)
        service_of(
            settings,
            transport,
            model,
            model.decode_with(decoding),
            [*monitor.formats, *formats],
            events=events,
            queues=monitor.queues,
        ).run(stop)


def segmenter_meta(settings: ModelSettings) -> dict[str, str]:
    """What replies say about the model, in the words of the SAM image."""
    return {
        "type": "sam" if settings.model in SAM_MODELS else settings.model,
        "model_type": settings.model,
        "model_file": "" if settings.checkpoint is None else str(settings.checkpoint),
    }


def _black_mask(decoding: DecodingOptions, image: bytes) -> bytes:
    size = image_size(image, decoding.exif) if image else None
    return blank(BLACK_PIXEL if size is None or size[0] * size[1] > decoding.max_pixels else size)


def _place(service: str, settings: Settings) -> Place:
    return Place({"service": service, "server": str(server_of(settings.redis))})


def _stop(stop: Event, events: Events) -> None:
    log.info(STOPPING)
    events.stopping()
    stop.set()
