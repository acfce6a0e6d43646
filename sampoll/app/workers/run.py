"""`sampoll run` by several processes. This one imports neither numpy nor a model: its workers tell it all."""

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack

from sampoll.app.run_outcome import RunOutcome, outcome_of
from sampoll.app.signals import STOPPING, outside_the_main_thread, stopping_on_signals
from sampoll.app.workers.messages import Message, Order
from sampoll.app.workers.processes import Workers
from sampoll.app.workers.shares import core_shares, worker_settings
from sampoll.config.settings import Settings
from sampoll.core.errors import SampollError, UsageError
from sampoll.core.events import Listener, PassedOver, StopRequested, broadcast
from sampoll.monitoring.job_log import job_log
from sampoll.monitoring.progress_bar import JobProgress, progress
from sampoll.monitoring.tally import Tally
from sampoll.spool.layout import Layout

log = logging.getLogger(__name__)

OF_ONE_INPUT = frozenset({"left", "stopping"})
"""Events of log lines that each worker writes, and that are the same for all."""


def is_divided(settings: Settings) -> bool:
    """Whether a run is the work of several processes; UsageError for what they cannot do together."""
    processes = settings.processes
    if processes.workers is None and not processes.devices:
        return False
    refused = {
        "--exclusive": settings.spool.exclusive,
        "--stop-file": settings.spool.stop_file is not None,
        "--http": settings.monitoring.http is not None,
        "--metrics-file": settings.monitoring.metrics_file is not None,
    }
    for flag, is_given in refused.items():
        if is_given:
            raise UsageError(
                f"{flag} is for a run in one process: leave out --workers and --devices, or {flag}"
            )
    if processes.workers is not None and processes.devices:
        raise UsageError("--devices has a worker for each device: leave --workers out")
    return True


def run_in_workers(
    settings: Settings, layout: Layout, listeners: Sequence[Listener], *, show_progress: bool
) -> RunOutcome:
    """Serves the input directory by several processes. Raises SampollError if they cannot work at all."""
    tally = Tally()
    with ExitStack() as stack:
        everyone: list[Listener] = [*listeners, tally]
        if settings.operations.report is not None:
            everyone.append(stack.enter_context(job_log(settings.operations.report)))
        everyone.append(JobProgress(stack.enter_context(progress("pair", 0, is_shown=show_progress))))
        application = _Application(settings, broadcast(everyone))
        stack.enter_context(stopping_on_signals(application.stop))
        outside_the_main_thread(application.run)
    if tally.done:
        _write_datasets(settings, layout)
    return outcome_of(settings, layout, tally, is_stopped=application.is_stopped)


class _Application:
    def __init__(self, settings: Settings, emit: Listener) -> None:
        self._settings = settings
        self._emit = emit
        self._passed_over: dict[str, int] = {}
        self._said: set[str] = set()
        self._workers = Workers(_orders(settings), self._take)
        self.is_stopped = False

    def run(self) -> None:
        self._workers.run()

    def stop(self) -> None:
        level = logging.INFO if self._settings.spool.continuous else logging.WARNING
        log.log(level, STOPPING, extra={"event": "stopping"})
        self.is_stopped = True
        self._emit(StopRequested())
        self._workers.stop()

    def _take(self, number: int, message: Message) -> None:
        match message:
            case logging.LogRecord():
                self._log(number, message)
            case SampollError() | StopRequested():
                pass  # the error is raised, or logged, by who watches the worker
            case PassedOver(path):
                # Each worker says so of the same path; again only the one that said it first.
                if self._passed_over.setdefault(path, number) == number:
                    self._emit(message)
            case _:
                self._emit(message)

    def _log(self, number: int, record: logging.LogRecord) -> None:
        if record.__dict__.get("event") in OF_ONE_INPUT:
            if record.getMessage() in self._said or record.__dict__["event"] == "stopping":
                return
            self._said.add(record.getMessage())
        record.__dict__["worker"] = number
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)


def _orders(settings: Settings) -> list[Order]:
    shares = worker_settings(settings)
    cores = sorted(os.sched_getaffinity(0))
    level = logging.getLogger("sampoll").getEffectiveLevel()
    return [
        Order(each, own, level) for each, own in zip(shares, core_shares(cores, len(shares)), strict=True)
    ]


def _write_datasets(settings: Settings, layout: Layout) -> None:
    """Needs what the workers needed, and so is imported only for settings that ask for data sets."""
    from sampoll.config.plugins import DATASETS, plugins

    if set(plugins(DATASETS)).isdisjoint(settings.outputs.names):
        return
    from sampoll.app.export import write_datasets
    from sampoll.app.plan import plan_of

    write_datasets(layout.output, plan_of(settings, layout).datasets)
