"""The contract of every transport."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

import pytest
from support.images import encoded, image_of
from support.one_shot import OneShot
from support.redis_servers import Server, running_server

from sampoll.config.settings.limits import LimitSettings
from sampoll.config.settings.redis import RedisSettings
from sampoll.config.settings.requests import RequestSettings
from sampoll.config.settings.spool import SpoolSettings
from sampoll.config.settings.streams import StreamsSettings
from sampoll.core import events
from sampoll.core.errors import BadPrompt, OutOfMemory
from sampoll.core.events import JobDeferred, JobDone, JobFailed
from sampoll.core.jobs import Submission
from sampoll.core.protocols import Transport
from sampoll.core.results import Artifact, Delivery, ResultSummary
from sampoll.core.shards import WHOLE
from sampoll.files.stores.directory import DirectoryStore
from sampoll.spool.layout import Layout
from sampoll.transports.batch.begun import Begun
from sampoll.transports.batch.ledger import FAILED_FOLDER, Ledger
from sampoll.transports.batch.remaining import Remaining, WhichJobs
from sampoll.transports.batch.transport import BatchOptions, BatchTransport
from sampoll.transports.batch.tree import Pairing, TreeSource
from sampoll.transports.directory.transport import DirectoryOptions, directory_transport
from sampoll.transports.memory import submission
from sampoll.transports.redis.connection import RedisServer
from sampoll.transports.redis.messages import request_message
from sampoll.transports.redis.pubsub.transport import PubSubOptions, PubSubTransport
from sampoll.transports.redis.streams.transport import StreamOptions, StreamTransport
from sampoll.transports.redis.streams.worker import Worker

IMAGE = encoded(image_of(), "JPEG")
ARTIFACTS: tuple[Artifact, ...] = (Artifact(".png", b"mask"), Artifact(".json", b'"record"'))
WIRE: tuple[Artifact, ...] = (*ARTIFACTS, Artifact(".union.png", b"union"), Artifact(".contours.json", b"[]"))
"""The files of a result, and what replies over Redis need beside them."""
STREAMS = StreamsSettings(stream="jobs", group="group", result_ttl_seconds=60)


@dataclass
class Heard:
    """A listener: outcomes in the order of their events, and the events of finished jobs."""

    outcomes: list[tuple[str, str]] = field(default_factory=list)
    finished: list[JobDone] = field(default_factory=list)

    def __call__(self, event: events.Event) -> None:
        match event:
            case JobDone(name):
                self.outcomes.append(("delivered", name))
                self.finished.append(event)
            case JobFailed(name):
                self.outcomes.append(("failed", name))
            case JobDeferred(name):
                self.outcomes.append(("deferred", name))


class Harness(Protocol):
    """One transport, one-shot with three attempts, seen from both ends."""

    transport: Transport
    heard: Heard
    artifacts: tuple[Artifact, ...]

    def send(self, name: str, prompt: bytes = b"{}") -> None: ...
    def result(self, stem: str) -> dict[str, bytes]: ...
    def failures(self) -> list[str]: ...
    def waiting(self) -> list[str]: ...


class MemoryHarness:
    artifacts = ARTIFACTS

    def __init__(self) -> None:
        self.heard = Heard()
        self.memory = OneShot(emit=self.heard)
        self.transport: Transport = self.memory

    def send(self, name: str, prompt: bytes = b"{}") -> None:
        self.memory.waiting.append(submission(name, IMAGE, prompt))

    def result(self, stem: str) -> dict[str, bytes]:
        return dict(self.memory.delivered.get(stem, {}))

    def failures(self) -> list[str]:
        return sorted(self.memory.rejected)

    def waiting(self) -> list[str]:
        return [waiting.name for waiting in self.memory.waiting]


class DirectoryHarness:
    artifacts = ARTIFACTS

    def __init__(self, layout: Layout, transport: Transport, heard: Heard) -> None:
        self.heard = heard
        self.layout = layout
        self.transport = transport

    def send(self, name: str, prompt: bytes = b"{}") -> None:
        (self.layout.input / f"{name}.jpg").write_bytes(IMAGE)
        (self.layout.input / f"{name}.json").write_bytes(prompt)

    def result(self, stem: str) -> dict[str, bytes]:
        return {p.name[len(stem) :]: p.read_bytes() for p in self.layout.output.glob(f"{stem}.*")}

    def failures(self) -> list[str]:
        return sorted(p.name.partition(".")[0] for p in self.layout.failed.glob("*.error.json"))

    def waiting(self) -> list[str]:
        return sorted(p.stem for p in self.layout.input.glob("*.jpg"))


class PubSubHarness:
    artifacts = WIRE

    def __init__(self, server: Server) -> None:
        self.heard = Heard()
        self._client = server.client()
        self._replies = self._client.pubsub()
        self._replies.subscribe("out")
        self._received: dict[str, Mapping[str, Any]] = {}
        self._sent = 0
        options = PubSubOptions(
            RedisSettings(redis_in="in", redis_out="out"),
            RequestSettings(queue_bytes=10**6, reply_ttl_seconds=60),
            LimitSettings(max_image_bytes=10**6),
            {"type": "fake"},
        )
        self.pubsub = OneShotPubSub(RedisServer(port=server.port), options, self.heard, lambda _: b"black")
        self.pubsub.is_done = self._is_done
        self.pubsub.open()
        assert self.pubsub.is_subscribed.wait(10)
        self.transport: Transport = self.pubsub

    def send(self, name: str, prompt: bytes = b"{}") -> None:
        self._client.publish("in", request_message(IMAGE, json.loads(prompt), id=name, files=True))
        self._sent += 1

    def result(self, stem: str) -> dict[str, bytes]:
        self._receive()
        files = self._received[stem]["files"]
        return {suffix: base64.b64decode(content) for suffix, content in files.items()}

    def failures(self) -> list[str]:
        self._receive()
        return sorted(name for name, reply in self._received.items() if "error" in reply["meta"])

    def waiting(self) -> list[str]:
        return []

    def close(self) -> None:
        self.pubsub.close()
        self._replies.close()
        self._client.close()

    def _is_done(self) -> bool:
        outcomes = [kind for kind, _ in self.heard.outcomes if kind != "deferred"]
        return len(outcomes) >= self._sent

    def _receive(self) -> None:
        while message := self._replies.get_message(ignore_subscribe_messages=False, timeout=0.2):
            if message["type"] == "message":
                reply = json.loads(message["data"])
                self._received[reply["id"]] = reply


@contextmanager
def over_once(is_done: Callable[[], bool], stop: Event) -> Iterator[Event]:
    """An event that is set once `is_done`, or if `stop` was."""
    over = Event()
    if stop.is_set():
        over.set()

    def watch() -> None:
        while not over.wait(0.05):
            if is_done():
                over.set()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    yield over
    watcher.join()


class OneShotPubSub(PubSubTransport):
    """Its submissions, which otherwise go on for ever, end once `is_done`."""

    is_done: Callable[[], bool]

    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        with over_once(self.is_done, stop) as over:
            yield from super().submissions(over)


class OneShotStream(StreamTransport):
    """Its submissions, which otherwise go on for ever, end once `is_done`."""

    is_done: Callable[[], bool]

    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        with over_once(self.is_done, stop) as over:
            yield from super().submissions(over)


class StreamHarness:
    artifacts = WIRE

    def __init__(self, server: Server) -> None:
        self.heard = Heard()
        self._client: Any = server.client()
        self._sent = 0
        options = StreamOptions(8, STREAMS, 3, LimitSettings(max_image_bytes=10**6), {"type": "fake"})
        worker = Worker(RedisServer(port=server.port), STREAMS, lease_seconds=30)
        worker.join(Event())
        self.stream = OneShotStream(worker, options, self.heard, lambda _: b"black")
        self.stream.is_done = self._is_done
        self.transport: Transport = self.stream

    def send(self, name: str, prompt: bytes = b"{}") -> None:
        self._client.xadd("jobs", {"id": name, "image": IMAGE, "prompt": prompt})
        self._sent += 1

    def result(self, stem: str) -> dict[str, bytes]:
        files = self._replies()[stem]["files"]
        return {suffix: base64.b64decode(content) for suffix, content in files.items()}

    def failures(self) -> list[str]:
        return sorted(name for name, reply in self._replies().items() if "error" in reply["meta"])

    def waiting(self) -> list[str]:
        """The jobs that another worker gets at once."""
        found = self._client.xautoclaim("jobs", "group", "other", min_idle_time=10**6)[1]
        new = self._client.xreadgroup("group", "other", {"jobs": ">"})
        return [fields[b"id"].decode() for _, fields in [*found, *(e for _, entries in new for e in entries)]]

    def close(self) -> None:
        self.stream.close()
        self._client.close()

    def _is_done(self) -> bool:
        return len([kind for kind, _ in self.heard.outcomes if kind != "deferred"]) >= self._sent

    def _replies(self) -> dict[str, Mapping[str, Any]]:
        entries = self._client.xrange("jobs:results")
        return {fields[b"id"].decode(): json.loads(fields[b"reply"]) for _, fields in entries}


class BatchHarness:
    """Both trees are directories; a submission is handed back once its image is neither done nor failed."""

    artifacts = ARTIFACTS

    def __init__(self, source: Path, output: Path) -> None:
        self.heard = Heard()
        self._source, self._output = source, output
        files = DirectoryStore(source)
        results = DirectoryStore(output)
        ledger, begun, options = Ledger(results), Begun(results, WHOLE), BatchOptions()
        tree = TreeSource(files, Pairing())
        remaining = Remaining(tree, ledger, begun, self.heard, WhichJobs())
        self.transport: Transport = BatchTransport(remaining, files, ledger, begun, options, self.heard)

    def send(self, name: str, prompt: bytes = b"{}") -> None:
        (self._source / f"{name}.jpg").write_bytes(IMAGE)
        (self._source / f"{name}.json").write_bytes(prompt)

    def result(self, stem: str) -> dict[str, bytes]:
        return {p.name[len(stem) :]: p.read_bytes() for p in self._output.glob(f"{stem}.*")}

    def failures(self) -> list[str]:
        return sorted(p.name.partition(".")[0] for p in (self._output / FAILED_FOLDER).glob("*"))

    def waiting(self) -> list[str]:
        done = {p.stem for p in self._output.glob("*.json")}
        return sorted({p.stem for p in self._source.glob("*.jpg")} - done - set(self.failures()))


@contextmanager
def batch_harness(tmp_path: Path) -> Iterator[Harness]:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    output.mkdir()
    harness = BatchHarness(source, output)
    with closing(harness.transport):
        yield harness


@contextmanager
def directory_harness(tmp_path: Path) -> Iterator[Harness]:
    layout = Layout(tmp_path / "in", tmp_path / "out", tmp_path / "in" / "done")
    layout.input.mkdir()
    layout.output.mkdir()
    options = DirectoryOptions(SpoolSettings(settle_seconds=0, rescan_seconds=0.05))
    heard = Heard()
    with directory_transport(layout, options, heard, set()) as transport:
        yield DirectoryHarness(layout, transport, heard)


@contextmanager
def pubsub_harness(_: Path) -> Iterator[Harness]:
    with running_server() as server, closing(PubSubHarness(server)) as harness:
        yield harness


@contextmanager
def stream_harness(_: Path) -> Iterator[Harness]:
    with running_server() as server, closing(StreamHarness(server)) as harness:
        yield harness


@dataclass(frozen=True)
class Kind:
    """Makes the harness of one transport. `shares_names`: its results lie in one place, where names can be
    taken, and several results can have one name. `keeps`: it has a place where submissions wait."""

    made: Callable[[Path], AbstractContextManager[Harness]]
    shares_names: bool
    keeps: bool


KINDS = {
    "memory": Kind(lambda _: nullcontext(MemoryHarness()), shares_names=False, keeps=True),
    "directory": Kind(directory_harness, shares_names=True, keeps=True),
    "batch": Kind(batch_harness, shares_names=False, keeps=True),
    "pubsub": Kind(pubsub_harness, shares_names=False, keeps=False),
    "stream": Kind(stream_harness, shares_names=False, keeps=True),
}


@pytest.fixture(params=KINDS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    with KINDS[request.param].made(tmp_path) as harness:
        yield harness


@pytest.fixture(params=[name for name, kind in KINDS.items() if kind.shares_names])
def sharing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    with KINDS[request.param].made(tmp_path) as harness:
        yield harness


@pytest.fixture(params=[name for name, kind in KINDS.items() if kind.keeps])
def keeping(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    with KINDS[request.param].made(tmp_path) as harness:
        yield harness


def test_every_submission_comes_once_with_its_content(harness: Harness) -> None:
    harness.send("a", b'{"a": 1}')
    harness.send("b")

    seen = {}
    for group in harness.transport.submissions(Event()):
        harness.transport.begin(group)
        for s in group:
            assert s.name not in seen
            seen[s.name] = (s.image, json.loads(s.prompt))
        harness.transport.deliver([delivery(harness, s) for s in group])

    assert seen == {"a": (IMAGE, {"a": 1}), "b": (IMAGE, {})}


def test_a_delivered_submission_is_published_whole_and_never_comes_again(harness: Harness) -> None:
    harness.send("a")

    for [s] in harness.transport.submissions(Event()):
        harness.transport.begin([s])
        harness.transport.deliver([delivery(harness, s)])
    harness.transport.close()

    assert harness.result("a") == {".png": b"mask", ".json": b'"record"'}
    assert harness.waiting() == []
    assert harness.heard.outcomes == [("delivered", "a")]


def test_the_event_of_a_finished_job_has_its_outcome(harness: Harness) -> None:
    summary = ResultSummary((".png",), {"embedding": 0.5}, ((0.9, 0.8), (0.7,)))
    harness.send("a")

    for [s] in harness.transport.submissions(Event()):
        harness.transport.begin([s])
        harness.transport.deliver([replace(delivery(harness, s), summary=summary)])

    [event] = harness.heard.finished
    assert (event.name, event.job_id, event.result) == ("a", s.id, "a")
    assert (event.summary.suffixes, event.summary.scores) == (summary.suffixes, summary.scores)
    assert event.summary.masks == 3
    assert {"embedding": 0.5}.items() <= event.summary.seconds.items()


def test_a_second_job_of_one_name_gets_a_name_of_its_own(sharing: Harness) -> None:
    stems = []
    sharing.send("a")
    for [s] in sharing.transport.submissions(Event()):
        sharing.transport.begin([s])
        stems.append(sharing.transport.reserve(s, [".png", ".json"]))
        assert sharing.transport.reserve(s, [".png", ".json"]) == stems[-1]
        sharing.transport.deliver([Delivery(s, ARTIFACTS)])
        if len(stems) == 1:
            sharing.send("a")

    assert stems == ["a", "a~2"]
    assert sharing.result("a~2") == sharing.result("a") != {}


def test_a_rejected_submission_fails_for_good(harness: Harness) -> None:
    harness.send("a")

    for [s] in harness.transport.submissions(Event()):
        harness.transport.begin([s])
        harness.transport.reject(s, BadPrompt("is bad"))

    assert harness.failures() == ["a"]
    assert harness.waiting() == []
    assert harness.heard.outcomes == [("failed", "a")]


def test_after_a_transient_error_a_submission_comes_again_until_its_attempts_are_spent(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampoll.spool.spool.random.random", lambda: 0.0)
    harness.send("a")

    for [s] in harness.transport.submissions(Event()):
        harness.transport.begin([s])
        harness.transport.reject(s, OutOfMemory("too large"))

    assert harness.heard.outcomes == [("deferred", "a"), ("deferred", "a"), ("failed", "a")]
    assert harness.failures() == ["a"]


def test_close_hands_back_what_has_no_outcome(keeping: Harness) -> None:
    keeping.send("a")
    submissions = keeping.transport.submissions(Event())

    keeping.transport.begin(next(iter(submissions)))
    keeping.transport.close()

    assert keeping.waiting() == ["a"]
    assert keeping.heard.outcomes == []


def test_nothing_more_comes_after_stop(keeping: Harness) -> None:
    keeping.send("a")
    stop = Event()
    stop.set()

    assert list(keeping.transport.submissions(stop)) == []
    assert keeping.waiting() == ["a"]


def delivery(harness: Harness, s: Submission) -> Delivery:
    harness.transport.reserve(s, [artifact.suffix for artifact in harness.artifacts])
    return Delivery(s, harness.artifacts)
