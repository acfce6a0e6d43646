"""Failed jobs, wherever they are kept, as `sampoll failed` and the report page deal with them."""

from pathlib import Path
from typing import Any

from sampoll.config.settings import Settings
from sampoll.core.errors import InputUnavailable
from sampoll.core.failures import FailedJobs
from sampoll.spool.failed import FailedPairs
from sampoll.spool.layout import InputLayout


def failed_in_folder(directory: Path) -> FailedPairs:
    """Those in failed/ of an input directory; InputUnavailable if there is no such directory."""
    if not directory.is_dir():
        raise InputUnavailable(f"no input directory {directory}: correct --input")
    return FailedPairs(InputLayout(directory.resolve()))


def failed_in_stream(settings: Settings) -> FailedJobs[Any]:
    """Those that workers of a Redis stream gave up."""
    # Here, because redis takes its time, and a folder needs none.
    from sampoll.transports.redis.server import server_of
    from sampoll.transports.redis.streams.client import StreamClient

    return StreamClient(server_of(settings.redis), settings.streams)
