"""Lua scripts that change a job atomically on the server, so that no other worker can interfere.

The scripts are in lua/; each documents its arguments and its result. They need Redis 6.2, or Valkey.
"""

from functools import cache
from importlib.resources import files
from typing import Any

import redis


class Scripts:
    """The scripts, for a client; called with `keys` and `args`. They are called by their digests; a
    script itself is sent only if the server does not know it yet."""

    def __init__(self, client: "redis.Redis") -> None:
        self.begin: Any = client.register_script(_source("owner", "begin"))
        self.heartbeat: Any = client.register_script(_source("owner", "heartbeat"))
        self.commit: Any = client.register_script(_source("owner", "commit"))
        self.release: Any = client.register_script(_source("owner", "release"))
        self.send: Any = client.register_script(_source("send"))
        self.retry: Any = client.register_script(_source("retry"))


@cache
def _source(*names: str) -> str:
    """The files of these names, one after the other."""
    folder = files(__package__) / "lua"
    return "\n".join((folder / f"{name}.lua").read_text(encoding="utf-8") for name in names)
