"""Connects to a Redis server, and translates its errors."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from sampoll.core.addresses import redacted
from sampoll.core.errors import ConfigurationError, PermissionRefused, ServerUnavailable

CONNECT_SECONDS = 5.0
STALL_SECONDS = 10.0
"""How long a server may be silent in the middle of an answer."""
READ_BYTES = 2**20
"""The size of one read: a server disconnects subscribers that read more slowly than others publish."""
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.1, 5.0

_REFUSALS = (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    NoPermissionError,
)


@dataclass(frozen=True)
class RedisServer:
    """The address of a server, and our login there. With a `url`, `host`, `port` and `db` are ignored."""

    url: str | None = field(default=None, repr=False)
    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if "@" in self.host or "://" in self.host:
            raise ConfigurationError(
                "the host of Redis must be a name or a number: an address with a login belongs in redis-url"
            )

    def __str__(self) -> str:
        return redacted(self.url) if self.url else f"redis://{self.host}:{self.port}/{self.db}"

    def client(self) -> redis.Redis:
        """A client with its own connection, which is opened at the first use. It never retries by itself: the
        caller decides what is retried, and handles the gaps."""
        options: dict[str, Any] = {
            "protocol": 2,
            # Names of files, channels and paths may be any bytes.
            "encoding_errors": "surrogateescape",
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_timeout": STALL_SECONDS,
            "socket_read_size": READ_BYTES,
        }
        if not (self.url or "").startswith("unix://"):  # where it is no option
            options["socket_keepalive"] = True
        who = {"username": self.username, "password": self.password}
        options.update({key: value for key, value in who.items() if value is not None})
        if self.url is None:
            return redis.Redis(self.host, self.port, self.db, **options)
        try:
            client = redis.Redis.from_url(self.url, **options)
            pool = client.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # unknown options are refused here, and not later
            return client
        except (ValueError, TypeError) as error:  # about what follows the question mark, by name
            raise ConfigurationError(f"--redis-url {self}: {error}") from error


def refusal(error: RedisError, server: RedisServer) -> PermissionRefused | None:
    """The error to end with if the server rejects our login, or we have no right to do this; or None."""
    if not isinstance(error, _REFUSALS):
        return None
    return PermissionRefused(
        f"{server} refuses: {error}. Check --redis-username and SAMPOLL_REDIS_PASSWORD or "
        "--redis-password-file, and the user's rights"
    )


@contextmanager
def translated(server: RedisServer) -> Iterator[None]:
    """Raises PermissionRefused, ConfigurationError or ServerUnavailable for an error inside."""
    try:
        yield
    except RedisError as error:
        refused = refusal(error, server)
        if refused is not None:
            raise refused from error
        if isinstance(error, ResponseError):
            raise ConfigurationError(f"{server} answers: {error}") from error
        raise ServerUnavailable(f"{server} cannot be reached: {error}") from error


class Backoff:
    """Pauses between retries, each about twice the last one, up to MAX_PAUSE_SECONDS, with jitter."""

    def __init__(self) -> None:
        self._seconds = FIRST_PAUSE_SECONDS

    def pause(self, stop: Event) -> None:
        stop.wait(self._seconds * random.uniform(0.8, 1.2))
        self._seconds = min(2 * self._seconds, MAX_PAUSE_SECONDS)

    def reset(self) -> None:
        self._seconds = FIRST_PAUSE_SECONDS
