"""Workers as processes: started, watched, started again, stopped."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Event as Flag
from threading import Lock, Thread
from typing import TYPE_CHECKING, Protocol

from sampoll.app.workers.messages import Message, Order, Request
from sampoll.app.workers.verdict import Verdict, pause_seconds, verdict_on
from sampoll.core.errors import SampollError
from sampoll.core.events import (
    JobDeferred,
    JobDone,
    JobFailed,
    JobLost,
    JobSkipped,
    JobStarted,
    ModelLoaded,
    Paused,
)
from sampoll.core.stopping import STOP_POLL_SECONDS
from sampoll.files.cores import SHARERS

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

log = logging.getLogger(__name__)

ENTRY = "from sampoll.cli.worker import main; main()"
OF_SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Variables for the process that systemd has started, which is not the worker."""


class WorkersFailed(SampollError):
    """A worker has ended without saying why, too often or before any was ready."""


class Watcher(Protocol):
    """What is told of all workers, by their numbers, one thing at a time, and in order for each worker."""

    def note_start(self, worker: int, pid: int) -> None: ...

    def take(self, worker: int, message: Message) -> None: ...

    def note_end(self, worker: int, *, is_final: bool) -> None:
        """It has ended, and all that it has sent was taken. Unless that `is_final`, it is started again."""


@dataclass
class _Worker:
    number: int
    order: Order
    process: subprocess.Popen[bytes] | None = None
    connection: "Connection[Request | Order, Message] | None" = None
    sending: Lock = field(default_factory=Lock)
    begun: set[str] = field(default_factory=set)
    in_flight: dict[str, str] = field(default_factory=dict)
    crashes_in_a_row: int = 0
    has_spoken: bool = False
    last_error: SampollError | None = None

    @property
    def is_full(self) -> bool:
        """Whether it has begun as many pairs as it may."""
        limit = self.order.settings.spool.limit
        return limit is not None and len(self.begun) >= limit


class Workers:
    """Processes with an order each, by their numbers; `kept_open` are descriptors that they inherit."""

    def __init__(self, orders: Mapping[int, Order], watcher: Watcher, kept_open: Sequence[int] = ()) -> None:
        self._workers = {number: _Worker(number, order) for number, order in orders.items()}
        self._watcher = watcher
        self._kept_open = kept_open
        self._lock = Lock()
        self._stop = Flag()
        self._any_was_ready = False
        self._end: SampollError | None = None

    def run(self, tick: Callable[[], None]) -> None:
        """Returns when all workers have ended for good; raises the error that has ended all of them, also
        one by one. `tick` is called now and then until that."""
        threads = [
            Thread(target=self._watch, args=(worker,), daemon=True) for worker in self._workers.values()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(STOP_POLL_SECONDS)
                tick()
        errors = [error for worker in self._workers.values() if (error := worker.last_error) is not None]
        if self._end is None and not self._stop.is_set() and len(errors) == len(self._workers):
            self._end = errors[-1]
        if self._end is not None:
            raise self._end

    def stop(self) -> None:
        """Requests an orderly stop of all; may be called from any thread, and from a signal handler."""
        self._stop.set()
        for worker in self._workers.values():
            _signal(worker, signal.SIGTERM)

    def send(self, number: int, request: Request) -> None:
        """Sends to a worker that has begun; dropped if it has ended."""
        worker = self._workers[number]
        with worker.sending, suppress(OSError):
            if worker.connection is not None:
                worker.connection.send(request)

    def kill(self) -> None:
        """Ends all at once; may be called from a signal handler."""
        self._stop.set()
        for number in self._workers:
            self.kill_one(number)

    def kill_one(self, number: int) -> None:
        _signal(self._workers[number], signal.SIGKILL)

    def _watch(self, worker: _Worker) -> None:
        """Runs one worker, as often as it is to be started."""
        while not self._stop.is_set():
            try:
                exit_code = self._run_once(worker)
            except OSError as error:
                self._end_all(WorkersFailed(f"worker {worker.number} cannot be started: {error}"))
                return
            verdict = self._verdict_on(worker, exit_code)
            with self._lock:
                self._note_end(worker, is_final=verdict is not Verdict.RESTART)
            if verdict is Verdict.END_ALL:
                self._end_all(worker.last_error or WorkersFailed(_ended(worker, exit_code)))
            if verdict is not Verdict.RESTART:
                if worker.last_error is not None and exit_code > 1 and not self._stop.is_set():
                    facts = _facts(worker, exit_code)
                    log.error("worker %d ends: %s", worker.number, worker.last_error, extra=facts)
                return
            pause = pause_seconds(worker.crashes_in_a_row)
            facts = {**_facts(worker, exit_code), "delay_seconds": pause}
            log.error("%s; it is started again in %.1f s", _ended(worker, exit_code), pause, extra=facts)
            self._stop.wait(pause)

    def _run_once(self, worker: _Worker) -> int:
        """The exit code of the worker, negative for a signal. All that it has sent was taken before."""
        ours, theirs = multiprocessing.Pipe()
        worker.last_error, worker.has_spoken = None, False
        with ours:
            with theirs:
                process = worker.process = subprocess.Popen(
                    [sys.executable, "-P", "-c", ENTRY, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), *self._kept_open],
                    env=_environment(len(self._workers)),
                    start_new_session=True,  # a terminal signals its group: the parent passes signals on
                )
            with self._lock:
                self._watcher.note_start(worker.number, process.pid)
            with worker.sending, suppress(OSError):  # it has ended already
                ours.send(_rest_of(worker))
            worker.connection = ours
            if self._stop.is_set():  # since before the process could be signalled
                _signal(worker, signal.SIGTERM)
            with suppress(EOFError, OSError):
                while True:
                    self._note(worker, ours.recv())
        exit_code = process.wait()
        # Python itself ends with 1, as a worker does whose pairs have failed; but that one has said so.
        return exit_code if worker.has_spoken or exit_code != 1 else SampollError.exit_code

    def _verdict_on(self, worker: _Worker, exit_code: int) -> Verdict:
        with self._lock:
            worker.crashes_in_a_row += 1
            verdict = verdict_on(
                exit_code,
                any_was_ready=self._any_was_ready,
                crashes_in_a_row=worker.crashes_in_a_row,
                is_stopping=self._stop.is_set(),
            )
        return Verdict.LEAVE if verdict is Verdict.RESTART and worker.is_full else verdict

    def _note(self, worker: _Worker, message: Message) -> None:
        with self._lock:
            worker.has_spoken = True
            match message:
                case ModelLoaded():
                    self._any_was_ready = True
                case JobStarted(submission):
                    worker.begun.add(submission.id)
                    worker.in_flight[submission.id] = submission.name
                case JobDone() | JobSkipped() | JobFailed():
                    worker.crashes_in_a_row = 0
                    worker.in_flight.pop(message.job_id, None)
                case JobDeferred() | JobLost():
                    worker.in_flight.pop(message.job_id, None)
                case Paused(returns_jobs=True):
                    worker.in_flight.clear()
                case SampollError():
                    worker.last_error = message
            self._watcher.take(worker.number, message)

    def _note_end(self, worker: _Worker, *, is_final: bool) -> None:
        """What it had in flight is for others, or for its next process."""
        for job_id, name in worker.in_flight.items():
            self._watcher.take(worker.number, JobLost(name, job_id))
        worker.in_flight.clear()
        self._watcher.note_end(worker.number, is_final=is_final)

    def _end_all(self, error: SampollError) -> None:
        with self._lock:
            self._end = self._end or error
        self.stop()


def _rest_of(worker: _Worker) -> Order:
    """The order, less what an earlier process of this worker has begun."""
    settings = worker.order.settings
    if settings.spool.limit is None:
        return worker.order
    spool = settings.spool.model_copy(update={"limit": settings.spool.limit - len(worker.begun)})
    return replace(worker.order, settings=settings.model_copy(update={"spool": spool}))


def _signal(worker: _Worker, number: signal.Signals) -> None:
    if worker.process is not None and worker.process.poll() is None:
        worker.process.send_signal(number)


def _facts(worker: _Worker, exit_code: int) -> dict[str, object]:
    """The fields of the log line about its end."""
    how = {"signal": -exit_code} if exit_code < 0 else {"exit_code": exit_code}
    return {"event": "worker-ended", "worker": worker.number, **how}


def _ended(worker: _Worker, exit_code: int) -> str:
    how = f"by signal {-exit_code}" if exit_code < 0 else f"with exit code {exit_code}"
    return f"worker {worker.number} has ended {how}"


def _environment(workers: int) -> dict[str, str]:
    """That of this process, in which a worker finds the same modules, and how many share the CPU time."""
    inherited = {key: value for key, value in os.environ.items() if key not in OF_SYSTEMD}
    return {**inherited, "PYTHONPATH": os.pathsep.join(sys.path), SHARERS: str(workers)}
