"""The health of a service: its state, its jobs in flight, and whether it makes progress."""

import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from threading import Lock
from typing import Any

from sampoll.core.events import (
    Backlog,
    Event,
    InputScanned,
    JobDeferred,
    JobDone,
    JobFailed,
    JobSkipped,
    JobStarted,
    Listener,
    PassedOver,
)
from sampoll.core.names import printable
from sampoll.monitoring.process_health import ProcessHealth
from sampoll.monitoring.state import State

KEPT_FAILURES = 20
ALONE = 0
"""The number of the only process of a service; workers are numbered from 1."""
FROM_WORST = (State.STALLED, State.STOPPING, State.PAUSED, State.STARTING, State.WORKING)
"""The state of a service is the first of these that one of its processes has."""


class Health:
    """A listener that reports the health of a service at any time; thread-safe.

    `about` identifies the service and the source of its jobs. To count as healthy, every process of the
    service must finish the jobs in flight, and in one that `looks_around` also keep scanning its input. A
    service of several processes has the numbers of its `workers`, and a listener for each, `of`.
    """

    def __init__(
        self,
        about: Mapping[str, str],
        *,
        stall_seconds: float,
        looks_around: bool,
        workers: Sequence[int] = (ALONE,),
    ) -> None:
        self._about = {
            "id": uuid.uuid4().hex,
            **about,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _iso(time.time()),
            "sampoll": version("sampoll"),
        }
        self._new_process = partial(ProcessHealth, stall_seconds=stall_seconds, looks_around=looks_around)
        self._lock = Lock()
        self._processes = {worker: self._new_process() for worker in workers}
        self._backlog = Backlog()
        self._done = self._skipped = self._failed = self._retries = self._skipped_prompts = 0
        self._failures: deque[Mapping[str, str]] = deque(maxlen=KEPT_FAILURES)
        self._passed_over: deque[tuple[str, str]] = deque(maxlen=KEPT_FAILURES)
        self._started_at = time.monotonic()

    def __call__(self, event: Event) -> None:
        self._take(ALONE, event)

    def of(self, worker: int) -> Listener:
        """The listener for the events of one worker."""
        return partial(self._take, worker)

    def note_start(self, worker: int, pid: int) -> None:
        """A worker starts, again or for the first time."""
        with self._lock:
            self._processes[worker] = self._new_process()
            self._processes[worker].pid = pid

    def note_end(self, worker: int, *, is_final: bool) -> None:
        """A worker has ended; unless that `is_final`, it starts again."""
        with self._lock:
            del self._processes[worker]
            if not is_final:
                self._processes[worker] = self._new_process()

    def _take(self, worker: int, event: Event) -> None:
        with self._lock:
            process = self._processes.get(worker)
            if process is None:  # it has ended
                return
            match event:
                case InputScanned(backlog):
                    self._backlog = backlog
                    if not backlog.passed_over:
                        self._passed_over.clear()
                case PassedOver(path, error):
                    self._passed_over.append((printable(path), printable(str(error))))
                case JobStarted():
                    self._note_taken()
                case JobDone() | JobSkipped() | JobFailed() | JobDeferred():
                    self._note_outcome(event)
                    if event.job_id not in process.in_flight:
                        self._note_taken()  # it ended before it was begun
            process(event)

    def _note_taken(self) -> None:
        """One job fewer waits. A scan may find very many, and the next one comes after the last of them."""
        self._backlog = replace(self._backlog, ready=max(0, self._backlog.ready - 1))

    def _note_outcome(self, event: JobDone | JobSkipped | JobFailed | JobDeferred) -> None:
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

    # What others can ask

    @property
    def id(self) -> str:
        return str(self._about["id"])

    @property
    def is_healthy(self) -> bool:
        """False if a restart would help."""
        return self.state is not State.STALLED

    @property
    def is_ready(self) -> bool:
        """False while new jobs would wait for anything other than jobs before them, such as the model."""
        return self.state is State.WORKING

    @property
    def state(self) -> State:
        with self._lock:
            return self._state()[0]

    def stalled(self) -> Sequence[int]:
        """The workers that make no progress."""
        with self._lock:
            return [number for number, each in self._processes.items() if each.state is State.STALLED]

    def still_seconds(self, worker: int) -> float:
        """Since the last progress of a worker; 0 if it has ended."""
        with self._lock:
            return self._processes[worker].still_seconds() if worker in self._processes else 0.0

    @property
    def look_age_seconds(self) -> float:
        """Since the input was last looked through, or a job was taken from it."""
        with self._lock:
            return min((each.look_age_seconds() for each in self._processes.values()), default=0.0)

    def headline(self) -> str:
        """One line about all of it."""
        with self._lock:
            state, reason = self._state()
            counts = f"{self._done} done, {self._failed} failed, {len(self._in_flight())} in flight"
            return f"{state.value}{f' ({reason})' if reason else ''}; {counts}, {self._backlog.ready} waiting"

    def in_flight(self) -> list[str]:
        """The names of the jobs that are begun and not finished; the oldest of each process first."""
        with self._lock:
            return self._in_flight()

    def running_and_queued(self) -> tuple[list[str], list[str]]:
        """Those of them that the model works on, or whose results are being written; and those that are still
        being read, or wait for the model."""
        running: list[str] = []
        queued: list[str] = []
        with self._lock:
            for process in self._processes.values():
                for job_id, name in process.in_flight.items():
                    (running if job_id in process.running else queued).append(name)
        return running, queued

    def failures(self) -> Sequence[Mapping[str, str]]:
        """The last ones, the newest first."""
        with self._lock:
            return list(self._failures)

    def document(self) -> Mapping[str, Any]:
        """All of it, for JSON."""
        with self._lock:
            state, reason = self._state()
            processes = self._processes.values()
            return {
                **self._about,
                "state": state.value,
                "reason": reason,
                "healthy": state is not State.STALLED,
                "uptime_seconds": round(time.monotonic() - self._started_at, 1),
                "progress_seconds_ago": round(
                    max((each.still_seconds() for each in processes), default=0), 1
                ),
                **self._model(),
                "waiting": asdict(self._backlog),
                "in_flight": len(self._in_flight()),
                "done": self._done,
                "skipped": self._skipped,
                "failed": self._failed,
                "skipped_prompts": self._skipped_prompts,
                "retries": self._retries,
                "last_failure": self._failures[0] if self._failures else None,
                "passed_over": dict(self._passed_over),
                **self._workers(),
            }

    # All of these with the lock held

    def _state(self) -> tuple[State, str | None]:
        """The worst of all processes, and its reason; of a service without any, it stops."""
        worst = min(self._processes.values(), key=lambda each: FROM_WORST.index(each.state), default=None)
        return (State.STOPPING, None) if worst is None else (worst.state, worst.reason)

    def _in_flight(self) -> list[str]:
        return [name for process in self._processes.values() for name in process.in_flight.values()]

    def _model(self) -> Mapping[str, str | None]:
        """The model and its devices; empty before it is loaded."""
        models = [each.model for each in self._processes.values() if each.model is not None]
        if not models:
            return {}
        devices = ", ".join(dict.fromkeys(model.device for model in models))
        return {"model": models[0].name, "device": devices, "precision": models[0].precision}

    def _workers(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What each worker does; empty for a service of one process."""
        if ALONE in self._processes:
            return {}
        workers = [
            {
                "worker": number,
                "pid": each.pid,
                "state": each.state.value,
                "device": None if each.model is None else each.model.device,
                "in_flight": len(each.in_flight),
            }
            for number, each in sorted(self._processes.items())
        ]
        return {"workers": workers}


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
