"""The HTTP server (cheroot), with few threads and small limits."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from cheroot.wsgi import Server

from sampoll.core.errors import ConfigurationError

log = logging.getLogger(__name__)

THREADS = 4
HEADER_BYTES = 16 * 1024
PATIENCE_SECONDS = 10


class _Server(Server):
    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """Logs at debug level, because these messages are mostly about errors of clients."""
        log.debug("%s", msg, exc_info=traceback)


@contextmanager
def serving(host: str, port: int, application: Callable[..., Any]) -> Iterator[str]:
    """Serves a WSGI application until the block ends; its URL. ConfigurationError if it cannot listen."""
    server = _Server(
        (host, port), application, numthreads=THREADS, timeout=PATIENCE_SECONDS, shutdown_timeout=1
    )
    server.max_request_header_size = HEADER_BYTES
    server.max_request_body_size = 1  # request bodies are not used, and 0 would mean no limit
    try:
        server.prepare()
    except OSError as error:
        raise ConfigurationError(f"--http {host}:{port} cannot be used: {error}") from error
    thread = Thread(target=server.serve, name="http", daemon=True)
    thread.start()
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{server.bind_addr[1]}"
    log.info("status page: %s", url)
    try:
        yield url
    finally:
        server.stop()
        thread.join()
