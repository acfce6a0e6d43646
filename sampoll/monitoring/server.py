"""The HTTP server: granian in a thread of this process, with deadlines and small limits."""

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, TypeAlias

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from sampoll.core.errors import ConfigurationError

log = logging.getLogger(__name__)

HEADER_BYTES = 16 * 1024
HEADER_SECONDS = 10
"""How long the header of a request may take; a connection without a request is closed after it."""
CONNECTIONS = 10_000
"""Beyond so many, connections wait until others end."""
BACKLOG = 1024
STOPPING_SECONDS = 5.0
"""How long answers may still take to be read once the server is to stop."""
ENDING_SECONDS = 0.2
"""How long its threads may take to end after that."""

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOGS_NOTHING = {"incremental": True, "formatters": {}, "handlers": {}, "loggers": {}}
"""Without this, granian would replace all handlers of the process."""


class _Embedded(Server):
    """granian on a socket of ours. One that it opens itself shares its port with other processes
    (SO_REUSEPORT) instead of refusing it, knows no host names, and does not tell which port it got for 0."""

    def __init__(self, listener: socket.socket, application: AsgiApplication) -> None:
        super().__init__(
            application,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backlog=BACKLOG,
            backpressure=CONNECTIONS,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000),
            log_level=LogLevels.critical,  # the others are about errors of clients
            log_dictconfig=_LOGS_NOTHING,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # What granian makes of the socket in its own worker processes; its types do not say so.
        self._shd = SocketHolder(self._listener.detach(), False, BACKLOG)  # type: ignore[call-arg, assignment]


@contextmanager
def serving(
    host: str,
    port: int,
    application: AsgiApplication,
    setting: str = "--http",
    *,
    called: str = "status page",
) -> Iterator[str]:
    """Serves an ASGI application until the block ends; its URL, which the log has as that of what is `called`
    so. ConfigurationError, which names `setting`, if it cannot listen. What has begun is answered at the end,
    for at most STOPPING_SECONDS."""
    shown = f"[{host}]" if ":" in host else host
    try:
        listener = _listening(host, port)
    except OSError as error:
        raise ConfigurationError(f"{setting} {shown}:{port} cannot be used: {error}") from error
    url = f"http://{shown}:{listener.getsockname()[1]}"
    loop, server = asyncio.new_event_loop(), _Embedded(listener, _bounded(application))
    others = _native_threads()
    thread = Thread(target=_run, args=(loop, server), name="http", daemon=True)
    thread.start()
    log.info("%s: %s", called, url)
    try:
        yield url
    finally:
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(server.stop)
        thread.join(STOPPING_SECONDS)
        if thread.is_alive():
            log.debug("clients have not read their answers within %g s", STOPPING_SECONDS)
        _wait_for_end_of_threads(others)


def _native_threads() -> set[str]:
    """The threads of this process, also those that Python does not know; none where the system tells none."""
    with suppress(OSError):
        return set(os.listdir("/proc/self/task"))  # noqa: PTH208  no paths are needed
    return set()


def _wait_for_end_of_threads(others: set[str]) -> None:
    """Gives granian's own threads the time to end: one that still calls Python while the process ends would
    abort it. Threads that another library has started meanwhile are waited for in vain, but not long."""
    deadline = time.monotonic() + ENDING_SECONDS
    while time.monotonic() < deadline:
        known = {str(thread.native_id) for thread in threading.enumerate()}
        if not _native_threads() - others - known:
            return
        time.sleep(0.01)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens on the first address of `host`."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def _run(loop: asyncio.AbstractEventLoop, server: Server) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(server.serve())
    except Exception:  # of granian, which should raise none
        log.exception("the HTTP server has ended")
    finally:
        loop.close()


def _bounded(application: AsgiApplication) -> AsgiApplication:
    """The application, without requests whose header is too large; what it raises is logged, and answered."""

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES:
            await answer.refuse(431, b"the header is too large\n")
            return
        try:
            await application(scope, receive, answer.send)
        except Exception:  # a bug of ours
            log.exception("a request to %s failed", scope["path"])
            await answer.refuse(500, b"internal error\n")

    return bounded


class _Answer:
    """Whether an answer has begun is known here."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._has_begun = False

    async def send(self, message: Message) -> None:
        self._has_begun = True
        await self._send(message)

    async def refuse(self, status: int, content: bytes) -> None:
        if not self._has_begun:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await self._send({"type": "http.response.body", "body": content})
