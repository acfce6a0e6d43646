"""What every transport owes, wherever its jobs come from."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Protocol

import pytest
from support import encoded, image_of

from sampoll.errors import BadPrompt, JobError, OutOfMemory
from sampoll.events import Events
from sampoll.interfaces import Transport
from sampoll.jobs import Submission
from sampoll.results import Artifact, Delivery
from sampoll.spool.layout import Layout
from sampoll.spool.scan import Readiness
from sampoll.transports.directory import DirectoryOptions, directory_transport
from sampoll.transports.memory import MemoryTransport, submission
from sampoll.transports.pairs import SizeLimits

IMAGE = encoded(image_of(), "JPEG")


@dataclass
class Heard(Events):
    """Outcomes in the order in which they were told."""

    outcomes: list[tuple[str, str]] = field(default_factory=list)

    def delivered(self, name: str, job_id: str, stem: str) -> None:
        self.outcomes.append(("delivered", name))

    def failed(self, name: str, job_id: str, error: JobError) -> None:
        self.outcomes.append(("failed", name))

    def deferred(self, name: str, job_id: str, error: JobError, delay_seconds: float) -> None:
        self.outcomes.append(("deferred", name))


class Harness(Protocol):
    """One transport, one-shot with three attempts, seen from both ends."""

    transport: Transport
    heard: Heard

    def send(self, name: str, prompt: bytes = b"{}") -> None: ...
    def result(self, stem: str) -> dict[str, bytes]: ...
    def failures(self) -> list[str]: ...
    def waiting(self) -> list[str]: ...


class MemoryHarness:
    def __init__(self) -> None:
        self.heard = Heard()
        self.memory = MemoryTransport([], self.heard)
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


@pytest.fixture(params=["memory", "directory"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    if request.param == "memory":
        yield MemoryHarness()
        return
    layout = Layout(tmp_path / "in", tmp_path / "out", tmp_path / "in" / "done")
    layout.input.mkdir()
    layout.output.mkdir()
    options = DirectoryOptions(
        continuous=False,
        readiness=Readiness(settle_seconds=0),
        rescan_seconds=0.05,
        give_up_seconds=60,
        max_attempts=3,
        size_limits=SizeLimits(10**6, 10**6),
    )
    heard = Heard()
    with directory_transport(layout, options, heard, set()) as transport:
        yield DirectoryHarness(layout, transport, heard)


ARTIFACTS = (Artifact(".png", b"mask"), Artifact(".json", b"record"))


def test_every_submission_comes_once_with_its_content(harness: Harness) -> None:
    harness.send("a", b'{"a": 1}')
    harness.send("b")

    seen = {}
    for group in harness.transport.submissions(Event()):
        harness.transport.begin(group)
        for s in group:
            assert s.name not in seen
            seen[s.name] = (s.image, s.prompt)
        harness.transport.deliver([delivery(harness, s) for s in group])

    assert seen == {"a": (IMAGE, b'{"a": 1}'), "b": (IMAGE, b"{}")}


def test_a_delivered_submission_is_published_whole_and_never_comes_again(harness: Harness) -> None:
    harness.send("a")

    for [s] in harness.transport.submissions(Event()):
        harness.transport.begin([s])
        harness.transport.deliver([delivery(harness, s)])
    harness.transport.close()

    assert harness.result("a") == {".png": b"mask", ".json": b"record"}
    assert harness.waiting() == []
    assert harness.heard.outcomes == [("delivered", "a")]


def test_a_second_job_of_one_name_gets_a_name_of_its_own(harness: Harness) -> None:
    stems = []
    harness.send("a")
    for [s] in harness.transport.submissions(Event()):
        harness.transport.begin([s])
        stems.append(harness.transport.reserve(s, [".png", ".json"]))
        assert harness.transport.reserve(s, [".png", ".json"]) == stems[-1]
        harness.transport.deliver([Delivery(s, ARTIFACTS)])
        if len(stems) == 1:
            harness.send("a")

    assert stems == ["a", "a~2"]
    assert harness.result("a~2") == harness.result("a") != {}


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


def test_close_hands_back_what_has_no_outcome(harness: Harness) -> None:
    harness.send("a")
    submissions = harness.transport.submissions(Event())

    harness.transport.begin(next(iter(submissions)))
    harness.transport.close()

    assert harness.waiting() == ["a"]
    assert harness.heard.outcomes == []


def test_nothing_more_comes_after_stop(harness: Harness) -> None:
    harness.send("a")
    stop = Event()
    stop.set()

    assert list(harness.transport.submissions(stop)) == []
    assert harness.waiting() == ["a"]


def delivery(harness: Harness, s: Submission) -> Delivery:
    harness.transport.reserve(s, [artifact.suffix for artifact in ARTIFACTS])
    return Delivery(s, ARTIFACTS)
