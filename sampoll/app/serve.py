"""Services over a network: each opens its transport, loads the model, and works until a signal arrives."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sampoll.app.assembly import (
    batch_size_of,
    decoding_options,
    format_options,
    load_model,
    named,
    service_of,
)
from sampoll.app.reply_formats import ContourLists, UnionMask, blank
from sampoll.app.service_info import redis_info
from sampoll.app.signals import STOPPING, outside_the_main_thread, stopping_on_signals
from sampoll.config.settings import Settings
from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import Reword, UsageError
from sampoll.core.events import Listener, ModelLoaded, StopRequested, broadcast
from sampoll.core.summary import CommandSummary
from sampoll.formats.registry import load_format
from sampoll.inputs.common_prompt import default_prompt
from sampoll.inputs.decode import image_size
from sampoll.inputs.options import DecodingOptions
from sampoll.models.registry import Factory, attribute_of, find_factory
from sampoll.monitoring.monitor import Monitor, PartOf, ServiceInfo, monitored
from sampoll.monitoring.tally import Tally
from sampoll.transports.redis.pubsub.served import open_pubsub
from sampoll.transports.redis.server import server_of
from sampoll.transports.redis.streams.served import open_stream
from sampoll.transports.served import Host, Opened, Opener

log = logging.getLogger(__name__)

BLACK_PIXEL = (1, 1)


@dataclass(frozen=True)
class StandIn:
    """A service in the place of `sam_predict_redis` takes what that took. `segmenter` is what its replies
    contain about the model; `reword` puts errors into its words."""

    segmenter: Mapping[str, Any]
    reword: Reword


def serve_redis(
    settings: Settings,
    listeners: Sequence[Listener],
    *,
    embedded: bool = False,
    stand_in: StandIn | None = None,
) -> CommandSummary:
    """Answers the requests of a channel. UsageError for several processes."""
    if settings.processes.is_divided:
        raise UsageError(
            "serve redis cannot have --workers or --devices, because each would answer each request: use "
            "serve stream, whose workers share the jobs"
        )
    return serve(
        redis_info("serve redis", str(server_of(settings.redis))),
        partial(open_pubsub, embedded=embedded),
        settings,
        listeners,
        stand_in,
    )


def serve_stream(
    settings: Settings, listeners: Sequence[Listener], *, part_of: PartOf | None = None
) -> CommandSummary:
    """Works on the jobs of a stream. `part_of`: the service of which this process is a worker."""
    info = redis_info("serve stream", str(server_of(settings.redis)))
    return serve(info, open_stream, settings, listeners, part_of=part_of)


def serve(
    info: ServiceInfo,
    opener: Opener,
    settings: Settings,
    listeners: Sequence[Listener],
    stand_in: StandIn | None = None,
    part_of: PartOf | None = None,
) -> CommandSummary:
    """Serves what `opener` opens until a signal arrives, monitored; returns a summary.

    Raises SampollError if it cannot continue.
    """
    settings = named(settings)
    factory = find_factory(settings.model)
    decoding = decoding_options(settings, takes_old_prompts=stand_in is not None)
    default = settings.spool.default_prompt
    prompt = None if default is None else default_prompt(default, decoding).content
    tally, stop = Tally(), threading.Event()
    with monitored(settings.monitoring, info, part_of=part_of) as monitor:
        emit = broadcast([*listeners, tally, *monitor.listeners])
        host = Host(
            settings,
            segmenter_meta(settings.model) if stand_in is None else stand_in.segmenter,
            emit,
            partial(_black_mask, decoding),
            lambda: monitor.health.is_healthy,
            stop,
            takes_old_requests=stand_in is not None,
            default_prompt=prompt,
            reword=str if stand_in is None else stand_in.reword,
        )
        with stopping_on_signals(partial(_request_stop, host)), opener(host) as opened:
            outside_the_main_thread(partial(_run, opened, host, info, factory, decoding, monitor))
    summary = tally.summary()
    return replace(summary, line=f"{summary}; {opened.summary()}")


def _request_stop(host: Host) -> None:
    log.info(STOPPING, extra={"event": "stopping"})
    host.emit(StopRequested())
    host.stop.set()


def _run(
    opened: Opened,
    host: Host,
    info: ServiceInfo,
    factory: Factory,
    decoding: DecodingOptions,
    monitor: Monitor,
) -> None:
    """Loads the model, and serves the transport made for its device until a signal arrives."""
    settings, emit = host.settings, host.emit
    model = load_model(settings.model, factory)
    options = format_options(settings)
    formats = [
        load_format("png", options),
        load_format("opex", options),
        UnionMask(),
        ContourLists(options.simplify_pixels),
    ]
    with opened.transport_for(batch_size_of(settings.model, model.segmenter.info)) as transport:
        log.info("%s: ready", info.about["server"], extra={"event": "ready"})
        emit(ModelLoaded(model.segmenter.info))
        service_of(
            settings,
            transport,
            model,
            model.decode_with(decoding),
            [*monitor.formats, *formats],
            emit=emit,
            queues=monitor.queues,
        ).run(host.stop)


def _black_mask(decoding: DecodingOptions, image: bytes) -> bytes:
    """The empty mask for failed requests: of the image's size, or 1 x 1 if unknown or too large."""
    size = image_size(image, decoding.exif) if image else None
    return blank(BLACK_PIXEL if size is None or size[0] * size[1] > decoding.limits.max_pixels else size)


def segmenter_meta(settings: ModelSettings) -> dict[str, str]:
    """What replies contain about the model, under the keys of the SAM Docker image."""
    return {
        "type": str(attribute_of(find_factory(settings), "reply_type") or settings.model),
        "model_type": settings.model,
        "model_file": "" if settings.checkpoint is None else str(settings.checkpoint),
    }
