"""A transport in memory: for tests, and for programs that bring their own submissions."""

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Condition, Event

from sampoll.core.errors import JobError, TransientJobError
from sampoll.core.events import JobDeferred, JobDone, JobFailed, JobStarted, Listener, ignore_events
from sampoll.core.jobs import Submission
from sampoll.core.results import Delivery


def submission(name: str, image: bytes, prompt: bytes) -> Submission:
    """A submission of its own id, as a transport would hand it out."""
    return Submission(
        id=uuid.uuid4().hex,
        name=name,
        image_name=f"{name}.jpg",
        prompt_name=f"{name}.json",
        image=image,
        prompt=prompt,
        image_sha256=hashlib.sha256(image).hexdigest(),
        image_file=f"{name}.jpg",
    )


@dataclass
class MemoryTransport:
    """A one-shot transport that hands out `waiting`, and collects `delivered` by stem, `rejected` by name.

    `max_attempts` bounds the tries of a submission that is rejected with a TransientJobError.
    """

    waiting: list[Submission]
    emit: Listener = ignore_events
    max_attempts: int = 3
    delivered: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    rejected: dict[str, JobError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._open: dict[str, Submission] = {}
        self._attempts: dict[str, int] = {}
        self._stems: dict[str, str] = {}
        self._changed = Condition()

    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        while True:
            with self._changed:
                while not self.waiting and self._open and not stop.is_set():
                    self._changed.wait(0.1)
                if stop.is_set() or not self.waiting:
                    return
                chosen = self.waiting.pop(0)
                self._open[chosen.id] = chosen
            yield [chosen]

    def begin(self, submissions: Sequence[Submission]) -> None:
        for begun in submissions:
            self._attempts[begun.id] = self._attempts.get(begun.id, 0) + 1
            self.emit(JobStarted(begun))

    def reserve(self, submission: Submission, suffixes: Sequence[str]) -> str:
        if submission.id not in self._stems:
            self._stems[submission.id] = _first_free(submission.name, self._stems.values())
        return self._stems[submission.id]

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            submission = delivery.submission
            stem = self._stems.get(submission.id, submission.name)
            self.delivered[stem] = {artifact.suffix: artifact.content for artifact in delivery.artifacts}
            self._close(submission)
            self.emit(JobDone(submission.name, submission.id, stem, delivery.summary))

    def reject(self, submission: Submission, error: JobError) -> None:
        again = isinstance(error, TransientJobError) and self._attempts[submission.id] < self.max_attempts
        if again:
            self._close(submission, come_again=True)
            self.emit(JobDeferred(submission.name, submission.id, error, 0.0))
        else:
            self.rejected[submission.name] = error
            self._close(submission)
            self.emit(JobFailed(submission.name, submission.id, error))

    def close(self) -> None:
        self.waiting[:0] = self._open.values()
        self._open.clear()

    def _close(self, submission: Submission, *, come_again: bool = False) -> None:
        with self._changed:
            del self._open[submission.id]
            if come_again:
                self.waiting.append(submission)
            self._changed.notify_all()


def _first_free(name: str, taken: Iterable[str]) -> str:
    stem, version = name, 1
    while stem in set(taken):
        version += 1
        stem = f"{name}~{version}"
    return stem
