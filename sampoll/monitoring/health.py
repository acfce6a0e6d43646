"""The health of a service: its state, its jobs in flight, and whether it makes progress."""

import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from threading import Lock
from typing import Any

from sampoll.core.events import (
    Backlog,
    BatchStarted,
    Event,
    InputScanned,
    JobDeferred,
    JobDone,
    JobFailed,
    JobLost,
    JobSkipped,
    JobStarted,
    ModelLoaded,
    PassedOver,
    Paused,
    Progressed,
    Resumed,
    StopRequested,
)
from sampoll.core.names import printable
from sampoll.core.result_summary import ModelInfo
from sampoll.monitoring.state import State

KEPT_FAILURES = 20


class Health:
    """A listener that reports the health of a service at any time; thread-safe.

    `about` identifies the service and the source of its jobs. To count as healthy, every service must finish
    the jobs in flight, and one that `looks_around` must also keep scanning its input.
    """

    def __init__(self, about: Mapping[str, str], *, stall_seconds: float, looks_around: bool) -> None:
        self._about = {
            "id": uuid.uuid4().hex,
            **about,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _iso(time.time()),
            "sampoll": version("sampoll"),
        }
        self._stall_seconds = stall_seconds
        self._looks_around = looks_around
        self._lock = Lock()
        self._state = State.STARTING
        self._reason: str | None = None
        self._model: dict[str, Any] = {}
        self._backlog = Backlog()
        self._in_flight: dict[str, str] = {}
        self._running: set[str] = set()
        self._done = self._skipped = self._failed = self._retries = self._skipped_prompts = 0
        self._failures: deque[Mapping[str, str]] = deque(maxlen=KEPT_FAILURES)
        self._passed_over: deque[tuple[str, str]] = deque(maxlen=KEPT_FAILURES)
        self._started_at = self._outcome_at = self._looked_at = time.monotonic()

    def __call__(self, event: Event) -> None:
        with self._lock:
            match event:
                case ModelLoaded(model):
                    self._note_model(model)
                case Paused(error, returns_jobs):
                    self._enter(State.PAUSED, printable(str(error)))
                    if returns_jobs:
                        self._clear_in_flight()
                case Resumed():
                    if self._state is State.PAUSED:
                        self._enter(State.WORKING if self._model else State.STARTING)
                case StopRequested():
                    self._enter(State.STOPPING)
                case InputScanned(backlog):
                    self._backlog = backlog
                    if not backlog.passed_over:
                        self._passed_over.clear()
                    self._looked_at = time.monotonic()
                case PassedOver(path, error):
                    self._passed_over.append((printable(path), printable(str(error))))
                case JobStarted(submission):
                    self._looked_at = time.monotonic()
                    if not self._in_flight:
                        self._outcome_at = self._looked_at
                    self._in_flight[submission.id] = printable(submission.name)
                    self._note_taken()
                case BatchStarted(job_ids):
                    self._running.update(self._in_flight.keys() & set(job_ids))
                case Progressed():
                    self._outcome_at = self._looked_at = time.monotonic()
                case JobDone() | JobSkipped() | JobFailed() | JobDeferred() | JobLost():
                    self._note_outcome(event)

    def _note_model(self, model: ModelInfo) -> None:
        if self._state is not State.PAUSED:  # loading the model does not bring back a lost Redis server
            self._enter(State.WORKING)
        self._clear_in_flight()  # of an earlier session
        self._model = {"model": model.name, "device": model.device, "precision": model.precision}

    def _clear_in_flight(self) -> None:
        self._in_flight.clear()
        self._running.clear()

    def _note_taken(self) -> None:
        """One job fewer waits. A scan may find very many, and the next one comes after the last of them."""
        self._backlog = replace(self._backlog, ready=max(0, self._backlog.ready - 1))

    def _enter(self, state: State, reason: str | None = None) -> None:
        if self._state is not State.STOPPING:
            self._state, self._reason = state, reason
        self._outcome_at = self._looked_at = time.monotonic()

    def _note_outcome(self, event: JobDone | JobSkipped | JobFailed | JobDeferred | JobLost) -> None:
        match event:
            case JobDone(summary=summary):
                self._done += 1
                self._skipped_prompts += len(summary.skipped)
            case JobSkipped():
                self._skipped += 1
            case JobDeferred():
                self._retries += 1
            case JobFailed(name, _, error):
                self._failed += 1
                self._failures.appendleft(
                    {
                        "name": printable(name),
                        "code": error.code,
                        "message": printable(str(error)),
                        "at": _iso(time.time()),
                    }
                )
        if self._in_flight.pop(event.job_id, None) is None and not isinstance(event, JobLost):
            self._note_taken()  # it ended before it was begun
        self._running.discard(event.job_id)
        self._outcome_at = self._looked_at = time.monotonic()

    # What others can ask

    @property
    def is_healthy(self) -> bool:
        """False if a restart would help."""
        with self._lock:
            return self._current_state() is not State.STALLED

    @property
    def is_ready(self) -> bool:
        """False while new jobs would wait for anything other than jobs before them, such as the model."""
        with self._lock:
            return self._current_state() is State.WORKING

    @property
    def look_age_seconds(self) -> float:
        """Since the input was last looked through, or a job was taken from it."""
        with self._lock:
            return time.monotonic() - self._looked_at

    def headline(self) -> str:
        """One line about all of it."""
        with self._lock:
            state = self._current_state().value + (f" ({self._reason})" if self._reason else "")
            counts = f"{self._done} done, {self._failed} failed, {len(self._in_flight)} in flight"
            return f"{state}; {counts}, {self._backlog.ready} waiting"

    def in_flight(self) -> list[str]:
        """The names of the jobs that are begun and not finished; the oldest first."""
        with self._lock:
            return list(self._in_flight.values())

    def running_and_queued(self) -> tuple[list[str], list[str]]:
        """Those of them that the model works on, or whose results are being written; and those that are still
        being read, or wait for the model."""
        with self._lock:
            running = [name for job_id, name in self._in_flight.items() if job_id in self._running]
            queued = [name for job_id, name in self._in_flight.items() if job_id not in self._running]
            return running, queued

    def failures(self) -> Sequence[Mapping[str, str]]:
        """The last ones, the newest first."""
        with self._lock:
            return list(self._failures)

    def document(self) -> Mapping[str, Any]:
        """All of it, for JSON."""
        with self._lock:
            state = self._current_state()
            return {
                **self._about,
                "state": state.value,
                "reason": self._reason,
                "healthy": state is not State.STALLED,
                "uptime_seconds": round(time.monotonic() - self._started_at, 1),
                "progress_seconds_ago": round(self._still_seconds(), 1),
                **self._model,
                "waiting": asdict(self._backlog),
                "in_flight": len(self._in_flight),
                "done": self._done,
                "skipped": self._skipped,
                "failed": self._failed,
                "skipped_prompts": self._skipped_prompts,
                "retries": self._retries,
                "last_failure": self._failures[0] if self._failures else None,
                "passed_over": dict(self._passed_over),
            }

    def _current_state(self) -> State:
        if self._state is State.WORKING and self._still_seconds() > self._stall_seconds:
            return State.STALLED
        return self._state

    def _still_seconds(self) -> float:
        """Seconds since the last expected progress: a scan, or an outcome, or a part of one, while jobs are
        in flight."""
        now = time.monotonic()
        without_outcome = now - self._outcome_at if self._in_flight else 0.0
        # While the queues are full, the input is not scanned; but then there are outcomes, or parts of them.
        without_look = now - self._looked_at if self._looks_around else 0.0
        return max(without_outcome, without_look)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
