"""What one process of a service does: its state, its jobs in flight, and whether something comes of them."""

import time

from sampoll.core.events import (
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
    Paused,
    Progressed,
    Resumed,
    StopRequested,
)
from sampoll.core.names import printable
from sampoll.core.result_summary import ModelInfo
from sampoll.monitoring.state import State


class ProcessHealth:
    """A listener of the events of one process; not thread-safe. `in_flight` has the names of its jobs by
    their ids, the oldest first, and `running` the ids of those that the model works on, or whose results are
    being written."""

    def __init__(self, *, stall_seconds: float, looks_around: bool) -> None:
        self._stall_seconds = stall_seconds
        self._looks_around = looks_around
        self._state = State.STARTING
        self.reason: str | None = None
        self.model: ModelInfo | None = None
        self.pid: int | None = None
        self.in_flight: dict[str, str] = {}
        self.running: set[str] = set()
        self._outcome_at = self._looked_at = time.monotonic()

    def __call__(self, event: Event) -> None:
        match event:
            case ModelLoaded(model):
                if self._state is not State.PAUSED:  # loading does not bring back a lost Redis server
                    self._enter(State.WORKING)
                self._clear_in_flight()  # of an earlier session
                self.model = model
            case Paused(error, returns_jobs):
                self._enter(State.PAUSED, printable(str(error)))
                if returns_jobs:
                    self._clear_in_flight()
            case Resumed():
                if self._state is State.PAUSED:
                    self._enter(State.WORKING if self.model else State.STARTING)
            case StopRequested():
                self._enter(State.STOPPING)
            case InputScanned():
                self._looked_at = time.monotonic()
            case JobStarted(submission):
                self._looked_at = time.monotonic()
                if not self.in_flight:
                    self._outcome_at = self._looked_at
                self.in_flight[submission.id] = printable(submission.name)
            case BatchStarted(job_ids):
                self.running.update(self.in_flight.keys() & set(job_ids))
            case Progressed():
                self._outcome_at = self._looked_at = time.monotonic()
            case JobDone() | JobSkipped() | JobFailed() | JobDeferred() | JobLost():
                self.in_flight.pop(event.job_id, None)
                self.running.discard(event.job_id)
                self._outcome_at = self._looked_at = time.monotonic()

    @property
    def state(self) -> State:
        if self._state is State.WORKING and self.still_seconds() > self._stall_seconds:
            return State.STALLED
        return self._state

    def look_age_seconds(self) -> float:
        """Since the input was last looked through, or a job was taken from it."""
        return time.monotonic() - self._looked_at

    def still_seconds(self) -> float:
        """Seconds since the last expected progress: a scan, or an outcome, or a part of one, while jobs are
        in flight."""
        without_outcome = time.monotonic() - self._outcome_at if self.in_flight else 0.0
        # While the queues are full, the input is not scanned; but then there are outcomes, or parts of them.
        without_look = self.look_age_seconds() if self._looks_around else 0.0
        return max(without_outcome, without_look)

    def _clear_in_flight(self) -> None:
        self.in_flight.clear()
        self.running.clear()

    def _enter(self, state: State, reason: str | None = None) -> None:
        if self._state is not State.STOPPING:
            self._state, self.reason = state, reason
        self._outcome_at = self._looked_at = time.monotonic()
