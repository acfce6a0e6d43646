"""Checks of the Redis server, as far as it permits the INFO command."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

from sampoll.app.doctor.findings import Finding, error_of, ok, warning
from sampoll.config.settings.redis import RedisSettings
from sampoll.core.errors import SampollError
from sampoll.transports.redis.connection import RedisServer, translated
from sampoll.transports.redis.server import server_of

OLDEST = (6, 2)
"""The first version with all features that streams need."""


def check_redis(settings: RedisSettings) -> Iterator[Finding]:
    try:
        server = server_of(settings)
        client = server.client()
        began = time.monotonic()
        with translated(server):
            client.ping()
        seconds = time.monotonic() - began
    except SampollError as error:
        yield error_of(
            "redis", error, "start the server, or correct --redis-url or --redis-host and --redis-port"
        )
        return
    info: Mapping[str, Any] = {}
    with suppress(RedisError):
        info = client.info()
    yield from _version(server, info, seconds)
    if (policy := info.get("maxmemory_policy", "noeviction")) != "noeviction":
        yield warning(
            "redis",
            f"{server} may delete jobs and replies when its memory is full (maxmemory-policy {policy})",
            "set maxmemory-policy noeviction",
        )
    if "aof_enabled" in info and not info["aof_enabled"]:
        yield ok("redis", f"{server} loses its data when it crashes; streams need appendonly yes")


def _version(server: RedisServer, info: Mapping[str, Any], seconds: float) -> Iterator[Finding]:
    version = str(info.get("redis_version", ""))
    answered = f"{server} answered in {1000 * seconds:.1f} ms"
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if not version:
        yield ok("redis", f"{answered}; it does not report its version")
    elif numbers < OLDEST:
        yield warning("redis", f"{answered}; it is version {version}", "use 6.2 or later, or any Valkey")
    else:
        yield ok("redis", f"{answered}; version {version}")
