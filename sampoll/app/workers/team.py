"""The workers of a command, and what there is once for all of them: signals, log, listeners, monitoring. This
process imports neither numpy nor a model: its workers tell it all."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence

from sampoll.app.signals import STOPPING, outside_the_main_thread, stopping_on_signals
from sampoll.app.workers.messages import Answer, Command, Message, Order
from sampoll.app.workers.processes import Workers
from sampoll.app.workers.shares import core_shares
from sampoll.config.settings import Settings
from sampoll.core.errors import SampollError
from sampoll.core.events import Event, Listener, PassedOver, StopRequested, broadcast
from sampoll.core.wording import duration_text
from sampoll.monitoring.monitor import WorkersMonitor
from sampoll.monitoring.pictures import Thumbnail
from sampoll.monitoring.queue_sizes import QueueSizes

log = logging.getLogger(__name__)


def orders_of(
    command: Command, shares: Mapping[int, Settings], service_id: str, *, holds_input: bool = False
) -> Mapping[int, Order]:
    """The order of each worker, by its number; `shares` are the settings of each."""
    cores = core_shares(sorted(os.sched_getaffinity(0)), len(shares))
    level = logging.getLogger("sampoll").getEffectiveLevel()
    return {
        number: Order(command, settings, own, level, service_id, holds_input)
        for (number, settings), own in zip(shares.items(), cores, strict=True)
    }


class Team:
    """Workers with these orders. `listeners` get the events of all; `kept_open` are descriptors that the
    workers inherit. `stop_level` is that of the log line about a stop."""

    def __init__(
        self,
        orders: Mapping[int, Order],
        monitor: WorkersMonitor,
        listeners: Sequence[Listener],
        *,
        kept_open: Sequence[int] = (),
        stop_level: int = logging.INFO,
    ) -> None:
        self._monitor = monitor
        self._emit_to_own = {number: broadcast(own) for number, own in monitor.own.items()}
        self._emit_to_all = broadcast([*listeners, *monitor.shared])
        self._stop_level = stop_level
        self._workers = Workers(orders, self, kept_open)
        self._started: set[int] = set()
        self._killed: set[int] = set()
        self._passed_over: dict[str, int] = {}
        self.is_stopped = False

    def work(self, tick: Callable[[], None] = lambda: None) -> None:
        """Runs until the workers have done their work, or a signal has stopped them; raises the error that
        has ended all of them. `tick` is called several times a second."""

        def watch() -> None:
            tick()
            self._kill_stalled()

        with stopping_on_signals(self._stop_on_signal, self._workers.kill):
            outside_the_main_thread(lambda: self._workers.run(watch))

    def stop(self) -> None:
        """Requests an orderly stop of all; may be called from any thread."""
        self.is_stopped = True
        for emit in self._emit_to_own.values():
            emit(StopRequested())
        self._emit_to_all(StopRequested())
        self._workers.stop()

    def _stop_on_signal(self) -> None:
        log.log(self._stop_level, STOPPING, extra={"event": "stopping"})
        self.stop()

    def _kill_stalled(self) -> None:
        for number in self._monitor.health.stalled():
            if number not in self._killed:
                self._killed.add(number)
                still = duration_text(self._monitor.health.still_seconds(number))
                facts = {"event": "worker-stalled", "worker": number}
                log.error("worker %d has made no progress for %s: it is killed", number, still, extra=facts)
                self._workers.kill_one(number)

    # What the workers tell

    def note_start(self, worker: int, pid: int) -> None:
        """A worker starts, again or for the first time."""
        self._monitor.health.note_start(worker, pid)
        if worker in self._started and self._monitor.metrics is not None:
            self._monitor.metrics.note_restart(worker)
        self._started.add(worker)

    def note_end(self, worker: int, *, is_final: bool) -> None:
        """A worker has ended."""
        self._killed.discard(worker)
        self._monitor.queues[worker].clear()
        self._monitor.health.note_end(worker, is_final=is_final)

    def take(self, worker: int, message: Message) -> None:
        """What a worker has sent."""
        match message:
            case logging.LogRecord():
                self._log(worker, message)
            case Thumbnail():
                self._monitor.pictures.keep(message)
            case QueueSizes(queues):
                self._monitor.queues[worker].update(queues)
            case SampollError() | StopRequested() | Answer():
                pass  # the error is raised, or logged, by who watches the workers
            case PassedOver(path):
                # Each worker says so of the same path; again only the one that said it first.
                if self._passed_over.setdefault(path, worker) == worker:
                    self._emit(worker, message)
            case _:
                self._emit(worker, message)

    def _emit(self, worker: int, event: Event) -> None:
        self._emit_to_own[worker](event)
        self._emit_to_all(event)

    def _log(self, worker: int, record: logging.LogRecord) -> None:
        if record.__dict__.get("event") == "stopping":  # as all do; the parent has logged it
            return
        record.__dict__["worker"] = worker
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
