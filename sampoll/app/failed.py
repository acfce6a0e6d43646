"""Access to failed jobs, in a folder or a stream, for `sampoll failed` and the report page."""

from pathlib import Path
from typing import Any

from sampoll.config.settings import Settings
from sampoll.core.errors import InputUnavailable
from sampoll.core.failures import FailedJobs
from sampoll.spool.failed import FailedPairs
from sampoll.spool.layout import InputLayout


def failed_in_folder(directory: Path) -> FailedPairs:
    """The failed pairs in failed/ of an input directory; InputUnavailable if it does not exist."""
    if not directory.is_dir():
        raise InputUnavailable(f"no input directory {directory}: correct --input")
    return FailedPairs(InputLayout(directory.resolve()))


def failed_in_stream(settings: Settings) -> FailedJobs[Any]:
    """The jobs of a Redis stream that its workers gave up."""
    # Imported here, because importing redis is slow, and a folder does not need it.
    from sampoll.transports.redis.server import server_of
    from sampoll.transports.redis.streams.client import StreamClient

    return StreamClient(server_of(settings.redis), settings.streams)
