"""The transport of a stream, on a real server: what becomes of a job that is lost, unreadable or unfit."""

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from redis.exceptions import ConnectionError as LostConnection
from support.images import encoded, image_of
from support.process import until
from support.redis_servers import Server

from sampoll.config.settings.limits import LimitSettings
from sampoll.config.settings.streams import StreamsSettings
from sampoll.core.errors import BadPrompt
from sampoll.core.events import JobDeferred, JobFailed, JobLost, JobStarted, ModelLoaded, broadcast
from sampoll.core.jobs import Submission
from sampoll.core.results import Artifact, Delivery, ModelInfo
from sampoll.files.files import opened_regular
from sampoll.monitoring.health import Health
from sampoll.transports.redis.connection import RedisServer
from sampoll.transports.redis.messages import CONTOURS, RECORD, UNION
from sampoll.transports.redis.streams.transport import StreamOptions, StreamTransport, stream_transport
from sampoll.transports.redis.streams.worker import Worker

IMAGE = encoded(image_of(), "JPEG")
PROMPT = b'{"box": {"x0": 1, "y0": 1, "x1": 5, "y1": 5}}'
ARTIFACTS = (Artifact(CONTOURS, b"[]"), Artifact(UNION, b"mask"), Artifact(RECORD, b"{}"))


@dataclass
class Working:
    """A transport that is open, its events, and the health that comes from them."""

    transport: StreamTransport
    worker: Worker
    events: list[Any]
    health: Health
    stop: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self._submissions = self.transport.submissions(self.stop)

    def next(self) -> Sequence[Submission]:
        return next(self._submissions)

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


@contextmanager
def working(server: Server, lease_seconds: float = 30, root: Path | None = None) -> Iterator[Working]:
    streams = StreamsSettings(stream="jobs", group="group", root=root)
    health = Health({}, stall_seconds=0.05, looks_around=False)
    health(ModelLoaded(ModelInfo("fake", "cpu")))
    events: list[Any] = []
    emit = broadcast([events.append, health])
    worker = Worker(RedisServer(port=server.port), streams, lease_seconds)
    options = StreamOptions(8, streams, 3, LimitSettings(), {})
    with stream_transport(worker, options, emit, lambda _: b"black", Event()) as transport:
        work = Working(transport, worker, events, health)
        try:
            yield work
        finally:
            work.stop.set()


def put(client: Any, **fields: Any) -> None:
    client.xadd("jobs", {"image": IMAGE, "prompt": PROMPT, **fields})


def take_over(client: Any) -> None:
    """Another worker has all jobs from now on."""
    client.xgroup_createconsumer("jobs", "group", "other")
    pending = client.xpending_range("jobs", "group", "-", "+", 10)
    client.xclaim("jobs", "group", "other", 0, [each["message_id"] for each in pending])


def test_a_job_that_another_worker_takes_is_not_in_flight_any_more(server: Server, client: Any) -> None:
    with working(server, lease_seconds=0.3) as work:
        put(client, id="a")
        work.transport.begin(work.next())
        take_over(client)

        until(lambda: JobLost in map(type, work.events), "the loss")

        assert work.kinds() == ["JobStarted", "JobLost"]
        assert work.health.document()["in_flight"] == 0
        assert not Event().wait(0.1)
        assert work.health.is_healthy
        assert work.worker.counts.lost == 1


def test_a_job_that_is_lost_before_it_begins_is_not_in_flight(server: Server, client: Any) -> None:
    with working(server) as work:
        put(client, id="a")
        group = work.next()
        take_over(client)

        work.transport.begin(group)
        work.transport.reject(group[0], BadPrompt("late"))

        assert work.kinds() == ["JobStarted", "JobLost"]
        assert work.health.in_flight() == []


def test_a_job_that_is_lost_at_its_end_is_not_in_flight(server: Server, client: Any) -> None:
    with working(server) as work:
        put(client, id="a")
        [submission] = work.next()
        work.transport.begin([submission])
        take_over(client)

        work.transport.deliver([Delivery(submission, ARTIFACTS)])

        assert work.kinds() == ["JobStarted", "JobLost"]
        assert client.xlen("jobs:results") == 0


def test_a_commit_whose_answer_is_lost_ends_the_job_as_done(server: Server, client: Any) -> None:
    """Even if a heartbeat finds meanwhile that the entry is not ours any more."""
    with working(server, lease_seconds=0.06) as work:
        script = work.worker._scripts.commit
        cut: list[int] = []

        def commit(**arguments: Any) -> Any:
            answer = script(**arguments)
            if not cut:
                cut.append(answer)
                assert not Event().wait(0.3)  # some heartbeats
                raise LostConnection("cut")
            return answer

        work.worker._scripts.commit = commit
        put(client, id="a")
        [submission] = work.next()
        work.transport.begin([submission])

        work.transport.deliver([Delivery(submission, ARTIFACTS)])

        assert work.kinds() == ["JobStarted", "JobDone"]
        assert (client.xlen("jobs:results"), work.worker.counts.lost) == (1, 0)
        assert work.health.in_flight() == []


def test_a_result_that_no_server_takes_fails_its_job_alone(
    server: Server, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampoll.transports.redis.messages.MAX_VALUE_BYTES", 5000)
    large = (Artifact(CONTOURS, b"[" + b"[]," * 2000 + b"[]]"), *ARTIFACTS[1:])
    with working(server) as work:
        for name in "ab":
            put(client, id=name)
        first, second = work.next()
        work.transport.begin([first, second])

        work.transport.deliver([Delivery(first, large), Delivery(second, ARTIFACTS)])

        assert work.kinds() == ["JobStarted", "JobStarted", "JobFailed", "JobDone"]
    answers = [json.loads(fields[b"reply"])["meta"] for _, fields in client.xrange("jobs:results")]
    assert [answer.get("error_code") for answer in answers] == ["output-failed", None]


UNFIT: list[dict[Any, Any]] = [
    {"path": b"a\0b", "prompt": PROMPT},
    {"path": b"\xff", "prompt": PROMPT},
    {"path": b"../\xff", "prompt": PROMPT},
    {"path": b"x" * 10_000, "prompt": PROMPT},
    {"image": IMAGE},
    {"prompt": PROMPT},
    {"id": b"\xff\xfe", "image": IMAGE, "prompt": PROMPT},
    {"id": b"x" * 5000, "image": IMAGE, "prompt": b"\xff"},
    {b"\xff": b"\xff"},
]


def test_an_unfit_entry_is_answered_and_kept_whole_and_its_attempt_is_counted(
    server: Server, client: Any, tmp_path: Path
) -> None:
    for fields in UNFIT:
        client.xadd("jobs", fields)
    put(client, id="good")
    with working(server, root=tmp_path) as work:
        [good] = work.next()

        assert good.name == "good"
        assert [type(event) for event in work.events] == [JobFailed] * len(UNFIT)
    answers = [json.loads(fields[b"reply"]) for _, fields in client.xrange("jobs:results")]
    assert all(answer["meta"]["error"] and answer["id"] for answer in answers)
    failed = [fields for _, fields in client.xrange("jobs:failed")]
    assert [letter[b"attempts"] for letter in failed] == [b"1"] * len(UNFIT)
    for fields, letter in zip(UNFIT, failed, strict=True):
        kept = {key: value for key, value in fields.items() if key in ("image", "path", "prompt")}
        assert {key: letter.get(key.encode()) for key in kept} == kept
    assert client.hgetall("jobs:attempts") == {}


def test_an_image_that_cannot_be_read_now_is_read_again(
    server: Server, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(IMAGE)
    client.xadd("jobs", {"id": "a", "path": "a.jpg", "prompt": PROMPT})
    tries: list[Path] = []

    def open_the_second_time(path: Path) -> Any:
        tries.append(path)
        if len(tries) == 1:
            raise OSError(errno.EIO, "Input/output error")
        return opened_regular(path)

    monkeypatch.setattr("sampoll.transports.redis.streams.entries.opened_regular", open_the_second_time)
    with working(server, root=tmp_path) as work:
        [submission] = work.next()
        work.transport.begin([submission])

        assert submission.image == IMAGE
        assert [type(event) for event in work.events] == [JobDeferred, JobStarted]
        [attempts] = client.hvals("jobs:attempts")
        assert attempts == b"2"
