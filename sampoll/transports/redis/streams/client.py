"""The client side of a stream: adds jobs, reads results, and manages the jobs that have failed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sampoll.config.settings.streams import StreamsSettings
from sampoll.core.failures import FailedJob, Failure, KeptFile
from sampoll.core.names import printable
from sampoll.transports.redis.connection import RedisServer, translated
from sampoll.transports.redis.streams.entries import INPUT_KEYS, Fields
from sampoll.transports.redis.streams.scripts import Scripts

PAGE = 100
"""Failed jobs that are asked for at a time."""


@dataclass(frozen=True)
class FailedEntry(FailedJob):
    """An entry of the stream of failed jobs; the entry's id is used as the job id. `sent_as` is the name that
    its sender gave it; `content` is its input as it was sent, without that name."""

    sent_as: str
    content: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class NewJob:
    """A job to be sent: its name, its image file and prompt, and where the image is, as results name it."""

    name: str
    image: bytes = field(repr=False)
    prompt: bytes = field(repr=False)
    image_path: str = ""


class StreamClient:
    """Jobs of one stream. ServerUnavailable, PermissionRefused or ConfigurationError say what is wrong."""

    def __init__(self, server: RedisServer, settings: StreamsSettings) -> None:
        self.stream = settings.stream
        self._settings = settings
        self._server = server
        self._client = server.client()
        self._scripts = Scripts(self._client)

    def close(self) -> None:
        self._client.close()

    def send(self, job: NewJob, digest: str, *, again: bool) -> bool:
        """Adds a job. Returns False if a job of the same name and digest was added so recently that its
        result may still be kept, unless it is to be done `again`."""
        keys = (self.stream, f"{self.stream}:sent:{job.name}")
        fields = ("id", job.name, "image", job.image, "prompt", job.prompt, "image_path", job.image_path)
        arguments = (digest, "0" if again else "1", str(self._settings.result_ttl_seconds), *fields)
        with translated(self._server):
            return bool(self._scripts.send(keys=keys, args=arguments))

    def waiting(self) -> int:
        """How many jobs are in the stream, those that are worked on included."""
        with translated(self._server):
            return int(self._client.xlen(self.stream))

    def results(self, after: str, block_seconds: float) -> list[tuple[str, bytes]]:
        """The next results after an entry: (entry, reply); none if none comes in time. The reply of an entry
        without one is empty."""
        with translated(self._server):
            answer: Any = self._client.xread(
                {f"{self.stream}:results": after}, count=10, block=int(1000 * block_seconds)
            )
        return [
            (entry.decode(), fields.get(b"reply", b""))
            for _, entries in answer or []
            for entry, fields in entries
        ]

    def settle(self, entry: str) -> None:
        """Removes a result that was delivered to its reader."""
        with translated(self._server):
            self._client.xdel(f"{self.stream}:results", entry)

    # Jobs that have failed

    @property
    def retried_by(self) -> str:
        return f"the workers of {self.stream}"

    def jobs(self) -> Iterator[FailedEntry]:
        """The oldest first."""
        after = "-"
        while True:
            with translated(self._server):
                page: Any = self._client.xrange(f"{self.stream}:failed", min=after, count=PAGE)
            for entry, fields in page:
                yield _failed_entry(entry.decode(), fields)
            if len(page) < PAGE:
                return
            after = f"({page[-1][0].decode()}"

    def place_of(self, job: FailedEntry) -> str:
        return f"entry {job.job_id} of {self.stream}:failed"

    def identity_of(self, job: FailedEntry) -> Mapping[str, object]:
        return {"entry": job.job_id}

    def files_of(self, job: FailedEntry) -> Iterator[KeptFile]:
        for key, value in job.content.items():
            yield KeptFile(key, len(value))

    def retry(self, job: FailedEntry) -> bool:
        """Adds a failed job to the stream again; False if it is not among the failed jobs any more."""
        fields: dict[str, str | bytes] = {"id": job.sent_as, **job.content}
        arguments = [part for pair in fields.items() for part in pair]
        keys = (self.stream, f"{self.stream}:failed")
        with translated(self._server):
            return bool(self._scripts.retry(keys=keys, args=[job.job_id, *arguments]))

    def purge(self, job: FailedEntry) -> int:
        """Deletes a failed job for good; the bytes that it took."""
        with translated(self._server):
            deleted = int(self._client.xdel(f"{self.stream}:failed", job.job_id))
        return deleted * sum(map(len, job.content.values()))


def _failed_entry(entry: str, fields: Fields) -> FailedEntry:
    def text(key: str) -> str:
        return fields.get(key.encode(), b"").decode("utf-8", "replace")

    at = int(entry.partition("-")[0]) / 1000  # the server's clock, in the entry's id
    content = {key: fields[key.encode()] for key in INPUT_KEYS if key.encode() in fields}
    attempts = text("attempts")
    name, failure = text("id") or entry, Failure(text("code"), text("error"), at)
    return FailedEntry(
        printable(name), entry, int(attempts) if attempts.isdecimal() else 0, (failure,), name, content
    )


class StreamInbox:
    """The results of a stream, one after the other; each stays there until it is settled."""

    def __init__(self, jobs: StreamClient) -> None:
        self._jobs = jobs
        self._next: list[tuple[str, bytes]] = []
        self._entry = "0"

    @property
    def last(self) -> str:
        """The place of the last result, as text for messages."""
        return f"entry {self._entry} of {self._jobs.stream}:results"

    def next(self, timeout_seconds: float = 0.2) -> bytes | None:
        """The next result, or None if none has come in time."""
        if not self._next:
            self._next = self._jobs.results(self._entry, timeout_seconds)
        if not self._next:
            return None
        self._entry, reply = self._next.pop(0)
        return reply

    def settle(self) -> None:
        """Removes the last result, so that the next read returns another one."""
        self._jobs.settle(self._entry)
