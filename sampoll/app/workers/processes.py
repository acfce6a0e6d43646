"""Workers as processes: started, watched, started again, stopped."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Event as Flag
from threading import Lock, Thread
from typing import Any

from sampoll.app.workers.messages import Message, Order
from sampoll.app.workers.verdict import Verdict, pause_seconds, verdict_on
from sampoll.core.errors import SampollError
from sampoll.core.events import JobDone, JobFailed, JobSkipped, JobStarted, ModelLoaded

log = logging.getLogger(__name__)

ENTRY = "from sampoll.cli.worker import main; main()"
OF_SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Variables for the process that systemd has started, which is not the worker."""


class WorkersFailed(SampollError):
    """A worker has ended without saying why, too often or before any was ready."""


@dataclass
class _Worker:
    number: int
    order: Order
    process: subprocess.Popen[bytes] | None = None
    begun: set[str] = field(default_factory=set)
    crashes_in_a_row: int = 0
    last_error: SampollError | None = None


class Workers:
    """Processes with an order each. `take` gets each message of a worker with its number, one at a time."""

    def __init__(self, orders: Sequence[Order], take: Callable[[int, Message], None]) -> None:
        self._workers = [_Worker(number, order) for number, order in enumerate(orders, start=1)]
        self._take = take
        self._lock = Lock()
        self._stop = Flag()
        self._any_was_ready = False
        self._end: SampollError | None = None

    def run(self) -> None:
        """Returns when all workers have ended for good; raises the error that has ended all of them, also
        one by one."""
        threads = [Thread(target=self._watch, args=(worker,), daemon=True) for worker in self._workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        errors = [error for worker in self._workers if (error := worker.last_error) is not None]
        if self._end is None and not self._stop.is_set() and len(errors) == len(self._workers):
            self._end = errors[-1]
        if self._end is not None:
            raise self._end

    def stop(self) -> None:
        """Requests an orderly stop of all; may be called from any thread, and from a signal handler."""
        self._stop.set()
        for worker in self._workers:
            _signal(worker.process)

    def _watch(self, worker: _Worker) -> None:
        """Runs one worker, as often as it is to be started."""
        while not self._stop.is_set() and not worker_is_full(worker.order, len(worker.begun)):
            try:
                exit_code = self._run_once(worker)
            except OSError as error:
                self._end_all(WorkersFailed(f"worker {worker.number} cannot be started: {error}"))
                return
            with self._lock:
                worker.crashes_in_a_row += 1
                verdict = verdict_on(
                    exit_code,
                    any_was_ready=self._any_was_ready,
                    crashes_in_a_row=worker.crashes_in_a_row,
                    is_stopping=self._stop.is_set(),
                )
            if verdict is Verdict.END_ALL:
                self._end_all(worker.last_error or WorkersFailed(_ended(worker, exit_code)))
            if verdict is not Verdict.RESTART:
                if worker.last_error is not None and exit_code > 1 and not self._stop.is_set():
                    log.error("worker %d ends: %s", worker.number, worker.last_error)
                return
            pause = pause_seconds(worker.crashes_in_a_row)
            log.error("%s; it is started again in %.1f s", _ended(worker, exit_code), pause)
            self._stop.wait(pause)

    def _run_once(self, worker: _Worker) -> int:
        """The exit code of the worker, negative for a signal. All that it has sent was taken before."""
        ours, theirs = multiprocessing.Pipe()
        worker.last_error = None
        with ours:
            with theirs:
                process = worker.process = subprocess.Popen(
                    [sys.executable, "-P", "-c", ENTRY, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=_environment(),
                    start_new_session=True,  # a terminal signals its group: the parent passes signals on
                )
            with suppress(OSError):  # it has ended already
                ours.send(_rest_of(worker))
            if self._stop.is_set():  # since before the process could be signalled
                _signal(process)
            with suppress(EOFError, OSError):
                while True:
                    self._note(worker, ours.recv())
        return process.wait()

    def _note(self, worker: _Worker, message: Message) -> None:
        with self._lock:
            match message:
                case ModelLoaded():
                    self._any_was_ready = True
                case JobStarted(submission):
                    worker.begun.add(submission.id)
                case JobDone() | JobSkipped() | JobFailed():
                    worker.crashes_in_a_row = 0
                case SampollError():
                    worker.last_error = message
            self._take(worker.number, message)

    def _end_all(self, error: SampollError) -> None:
        with self._lock:
            self._end = self._end or error
        self.stop()


def worker_is_full(order: Order, begun: int) -> bool:
    """Whether a worker has begun as many pairs as it may."""
    limit = order.settings.spool.limit
    return limit is not None and begun >= limit


def _rest_of(worker: _Worker) -> Order:
    """The order, less what an earlier process of this worker has begun."""
    settings = worker.order.settings
    if settings.spool.limit is None:
        return worker.order
    spool = settings.spool.model_copy(update={"limit": settings.spool.limit - len(worker.begun)})
    return replace(worker.order, settings=settings.model_copy(update={"spool": spool}))


def _signal(process: "subprocess.Popen[bytes] | None") -> None:
    if process is not None and process.poll() is None:
        process.send_signal(signal.SIGTERM)


def _ended(worker: _Worker, exit_code: int) -> str:
    how = f"by signal {-exit_code}" if exit_code < 0 else f"with exit code {exit_code}"
    return f"worker {worker.number} has ended {how}"


def _environment() -> dict[str, str]:
    """That of this process, in which the worker finds the same modules."""
    environment: dict[str, Any] = {key: value for key, value in os.environ.items() if key not in OF_SYSTEMD}
    return {**environment, "PYTHONPATH": os.pathsep.join(sys.path)}
