"""Connections whose bytes are read by a process of their own, so that no work here delays reading."""

import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis
from redis.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection

from sampoll.transports.redis.child_signals import EVERY_STOP, blocked_in_children
from sampoll.transports.redis.connection import RedisServer
from sampoll.transports.redis.pubsub import relay

END_SECONDS = 2.0
"""How long the process may take to end after its socket is closed."""


@dataclass(frozen=True)
class BacklogBounds:
    """How much the process keeps of what was not read yet: first in memory, then in a temporary file. Beyond
    that it stops reading, and the server cuts the connection off at its own limit."""

    memory_bytes: int
    disk_bytes: int


class _Relayed(AbstractConnection):
    """Reads and writes a socket to the process, which has the one to the server. TLS is spoken over it: the
    process passes on what it cannot read."""

    def __init__(self, *arguments: Any, backlog: BacklogBounds, **options: Any) -> None:
        self._backlog = backlog
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(*arguments, **options)

    def _connect(self) -> socket.socket:
        with super()._connect() as server:  # type: ignore[no-untyped-call, safe-super]
            ours, its = socket.socketpair()
            with its:
                try:
                    self._process = _started(server, its, self._backlog)
                except BaseException:
                    ours.close()
                    raise
        ours.settimeout(self.socket_timeout)
        return ours

    def disconnect(self, *arguments: Any, **options: Any) -> None:
        super().disconnect(*arguments, **options)  # type: ignore[no-untyped-call]
        process, self._process = self._process, None
        if process is not None:
            _end(process)


class _RelayedTcp(_Relayed, Connection):
    pass


class _RelayedTls(SSLConnection, _RelayedTcp):
    pass


class _RelayedUnix(_Relayed, UnixDomainSocketConnection):
    pass


_KINDS = {
    Connection: _RelayedTcp,
    SSLConnection: _RelayedTls,
    UnixDomainSocketConnection: _RelayedUnix,
}


def relayed_client(server: RedisServer, backlog: BacklogBounds) -> redis.Redis:
    """A client like `server.client()`, whose connections are read by processes; where a process cannot get a
    socket, they are read here."""
    client = server.client()
    if os.name == "posix" and sys.executable:
        pool = client.connection_pool
        pool.connection_class = _KINDS[pool.connection_class]
        pool.connection_kwargs["backlog"] = backlog
    return client


def _started(
    server: socket.socket, subscriber: socket.socket, backlog: BacklogBounds
) -> subprocess.Popen[bytes]:
    """The process, which no signal but a kill ends: it ends when the other end of `subscriber` is closed."""
    # Without site-packages, it starts in some hundredths of a second.
    command = [
        sys.executable,
        "-P",
        "-S",
        relay.__file__,
        *map(str, (backlog.memory_bytes, backlog.disk_bytes)),
    ]
    with blocked_in_children(EVERY_STOP):
        return subprocess.Popen(command, stdin=server.fileno(), stdout=subscriber.fileno())


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
        return
    process.kill()
    process.wait()
