"""Prompts served over Redis: settings in, a finished service and its exit code out."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from threading import Event
from typing import Any

from sampoll.assembly import decoding_options, load_model, service_of
from sampoll.decoding import DecodingOptions, decode, image_size
from sampoll.embedded import embedded_server
from sampoll.errors import UsageError
from sampoll.events import Broadcast, Events
from sampoll.formats.wire import ContourLists, UnionMask, blank
from sampoll.listeners import Tally
from sampoll.redis_settings import server_of
from sampoll.registry import find_factory, load_format
from sampoll.settings import ModelSettings, RedisSettings, Settings
from sampoll.signals import outside_the_main_thread, stopping_on_signals
from sampoll.transports.pubsub.transport import PubSubOptions, pubsub_transport

log = logging.getLogger(__name__)

BLACK_PIXEL = (1, 1)
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
        stack.enter_context(stopping_on_signals(partial(_stop, stop)))
        stack.enter_context(embedded_server(server.port) if embedded else nullcontext())
        # Whatever comes while the model is loading waits for it.
        transport = stack.enter_context(
            pubsub_transport(server, options, Broadcast([*listeners, tally]), partial(_black_mask, decoding))
        )

        def serve() -> None:
            model = load_model(settings.model, factory)
            known = None if model.embeddings is None else model.embeddings.known
            formats = [load_format("png"), load_format("opex"), UnionMask(), ContourLists()]
            decoded = partial(decode, options=decoding, known=known)
            log.info("%s: ready", server)
            service_of(settings, transport, model, decoded, formats).run(stop)

        outside_the_main_thread(serve)
    gaps = transport.gaps
    return (
        f"{tally.summary()}; {transport.lost_replies} replies lost, "
        f"{gaps.count} gaps in the subscription, {gaps.seconds:.1f} s in all"
    )


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


def _stop(stop: Event) -> None:
    log.info("stopping: the running batch is finished first; a second signal stops at once")
    stop.set()
