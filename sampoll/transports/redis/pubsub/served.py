"""Publish/subscribe as `sampoll serve redis` serves it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from sampoll.config.settings.redis import RedisSettings
from sampoll.core.errors import UsageError
from sampoll.transports.redis.embedded_server import embedded_server
from sampoll.transports.redis.pubsub.transport import PubSubOptions, pubsub_transport
from sampoll.transports.redis.server import server_of
from sampoll.transports.served import Host, Opened


@contextmanager
def open_pubsub(host: Host, *, embedded: bool = False) -> Iterator[Opened]:
    """Subscribes at once, so that requests can already arrive and wait while the model is loaded.

    With `embedded`, to a server that is started here; UsageError if the settings name another one.
    """
    settings = host.settings
    defaults = RedisSettings()
    if embedded and (settings.redis.redis_url or settings.redis.redis_host != defaults.redis_host):
        raise UsageError("--embedded starts a server of its own: leave redis-url and redis-host out")
    server = server_of(settings.redis)
    options = PubSubOptions(
        settings.redis,
        settings.requests,
        settings.limits,
        host.segmenter,
        takes_old_requests=host.takes_old_requests,
        default_prompt=host.default_prompt,
        reword=host.reword,
    )
    with (
        embedded_server(server.port) if embedded else nullcontext(),
        pubsub_transport(server, options, host.emit, host.black_mask) as transport,
    ):

        def summary() -> str:
            gaps = transport.gaps
            return (
                f"{transport.lost_replies} replies lost, {gaps.count} gaps in the subscription, "
                f"{gaps.seconds:.1f} s in all"
            )

        yield Opened(lambda _: nullcontext(transport), summary)
