"""A stream of jobs as `sampoll serve stream` serves it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from sampoll.core.protocols import Transport
from sampoll.transports.redis.server import server_of
from sampoll.transports.redis.streams.transport import StreamOptions, stream_transport
from sampoll.transports.redis.streams.worker import Worker
from sampoll.transports.served import Host, Opened

SLOTS_PER_IMAGE = 4
"""Jobs that a worker holds per image of a batch: enough to keep its model busy; others can take the rest."""


@contextmanager
def open_stream(host: Host) -> Iterator[Opened]:
    """The worker joins its group once the model is loaded, so that other workers have the jobs until then."""
    settings = host.settings
    worker = Worker(
        server_of(settings.redis),
        settings.streams,
        settings.spool.lease_seconds,
        host.emit,
        host.is_healthy,
    )

    def transport_for(batch_size: int) -> AbstractContextManager[Transport]:
        options = StreamOptions(
            SLOTS_PER_IMAGE * batch_size,
            settings.streams,
            settings.spool.max_attempts,
            settings.limits,
            host.segmenter,
            host.default_prompt,
        )
        return stream_transport(worker, options, host.emit, host.black_mask, host.stop)

    def summary() -> str:
        counts = worker.counts
        return f"{counts.lost} taken by others, {counts.trimmed} deleted before they were done"

    yield Opened(transport_for, summary)
