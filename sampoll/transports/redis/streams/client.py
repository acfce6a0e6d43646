"""The other end of a stream: jobs put in, results taken out, and the dead letters in between."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sampoll.transports.redis.connection import RedisServer, translated
from sampoll.transports.redis.streams import scripts

PAGE = 100
"""Dead letters that are asked for at a time."""


@dataclass(frozen=True)
class StreamLetter:
    """A job that has failed; `content` is its input, as it was sent, except for its id."""

    entry: str
    name: str
    code: str
    message: str
    attempts: int
    content: Mapping[str, bytes] = field(repr=False)

    @property
    def at(self) -> float:
        """When it failed, in seconds since 1970."""
        return int(self.entry.partition("-")[0]) / 1000


class StreamJobs:
    """Jobs of one stream. ServerUnavailable, PermissionRefused or ConfigurationError say what is wrong."""

    def __init__(self, server: RedisServer, stream: str) -> None:
        self.stream = stream
        self._server = server
        self._client = server.client()

    def close(self) -> None:
        self._client.close()

    def send(
        self, name: str, image: bytes, prompt: bytes, digest: str, known_seconds: int, *, again: bool
    ) -> bool:
        """Puts a job in; False if this very one, by name and digest, was put in not longer ago, unless it is
        to be done `again`."""
        keys = (self.stream, f"{self.stream}:sent:{name}")
        fields = ("id", name, "image", image, "prompt", prompt)
        arguments = (digest, "0" if again else "1", str(known_seconds), *fields)
        with translated(self._server):
            return bool(self._client.eval(scripts.SEND, len(keys), *keys, *arguments))

    def waiting(self) -> int:
        """How many jobs are in the stream, those that are worked on included."""
        with translated(self._server):
            return int(self._client.xlen(self.stream))

    def results(self, after: str, block_seconds: float) -> list[tuple[str, bytes]]:
        """The next results after an entry: (entry, reply); none if none comes in time."""
        with translated(self._server):
            answer: Any = self._client.xread(
                {f"{self.stream}:results": after}, count=10, block=int(1000 * block_seconds)
            )
        return [
            (entry.decode(), fields[b"reply"]) for _, entries in answer or [] for entry, fields in entries
        ]

    def settle(self, entry: str) -> None:
        """Removes a result that somebody has now."""
        with translated(self._server):
            self._client.xdel(f"{self.stream}:results", entry)

    def letters(self) -> Iterator[StreamLetter]:
        """The jobs that have failed, the oldest first."""
        after = "-"
        while True:
            with translated(self._server):
                page: Any = self._client.xrange(f"{self.stream}:failed", min=after, count=PAGE)
            for entry, fields in page:
                yield _letter(entry.decode(), {key.decode(): value for key, value in fields.items()})
            if len(page) < PAGE:
                return
            after = f"({page[-1][0].decode()}"

    def retry(self, letter: StreamLetter) -> bool:
        """Puts a failed job in again; False if somebody else was faster."""
        fields: dict[str, str | bytes] = {"id": letter.name, **letter.content}
        arguments = [part for pair in fields.items() for part in pair]
        keys = (self.stream, f"{self.stream}:failed")
        with translated(self._server):
            return bool(self._client.eval(scripts.RETRY, len(keys), *keys, letter.entry, *arguments))

    def purge(self, letter: StreamLetter) -> int:
        """Deletes a failed job for good; the bytes that it took."""
        with translated(self._server):
            deleted = int(self._client.xdel(f"{self.stream}:failed", letter.entry))
        return deleted * sum(map(len, letter.content.values()))


def _letter(entry: str, fields: Mapping[str, bytes]) -> StreamLetter:
    def text(key: str) -> str:
        return fields.get(key, b"").decode("utf-8", "replace")

    content = {key: fields[key] for key in ("image", "path", "prompt") if key in fields}
    return StreamLetter(
        entry, text("id") or entry, text("code"), text("error"), int(text("attempts") or 0), content
    )


class StreamInbox:
    """The results of a stream, one after the other; each stays there until it is settled."""

    def __init__(self, jobs: StreamJobs) -> None:
        self._jobs = jobs
        self._next: list[tuple[str, bytes]] = []
        self._entry = "0"

    def next(self, patience_seconds: float = 0.2) -> bytes | None:
        """The next result, or None if none has come in time."""
        if not self._next:
            self._next = self._jobs.results(self._entry, patience_seconds)
        if not self._next:
            return None
        self._entry, reply = self._next.pop(0)
        return reply

    def settle(self) -> None:
        """Whoever asks next does not get the last result again."""
        self._jobs.settle(self._entry)
