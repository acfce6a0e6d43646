"""Workers of a stream in the background, jobs for them, and the results."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from support.fakes import POISON_HEIGHT
from support.folders import BOX
from support.images import encoded, image_of
from support.process import running_sampoll

IMAGE = encoded(image_of(), "JPEG")
POISON = encoded(image_of(height=POISON_HEIGHT), "JPEG")
AOF = ("--appendonly", "yes", "--appendfsync", "always")


@contextmanager
def worker(
    log_file: Path, port: int, *flags: object, model: str = "boxes", env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    command = ("serve", "stream", "--redis-port", port, "--model", f"support.fakes:{model}", *flags)
    with log_file.open("ab") as log, running_sampoll(*command, log=log, env=env) as process:
        yield process


def queue(client: "redis.Redis", names: Sequence[str], image: bytes = IMAGE) -> None:
    for name in names:
        client.xadd("sam", {"id": name, "image": image, "prompt": json.dumps(BOX)})


def results(client: "redis.Redis") -> dict[str, list[dict[str, Any]]]:
    """The replies to each job."""
    found: dict[str, list[dict[str, Any]]] = {}
    entries: Any = client.xrange("sam:results")
    for _, fields in entries:
        found.setdefault(fields[b"id"].decode(), []).append(json.loads(fields[b"reply"]))
    return found


def assert_each_is_done_once(client: "redis.Redis", names: Sequence[str]) -> None:
    found = results(client)
    assert Counter({name: len(replies) for name, replies in found.items()}) == Counter(names)
    assert all("error" not in reply["meta"] for replies in found.values() for reply in replies)
    assert client.xlen("sam") == 0
    assert client.xpending("sam", "sampoll")["pending"] == 0
    assert client.hgetall("sam:attempts") == {}
