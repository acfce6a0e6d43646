"""What happens, as metrics of Prometheus. Names and units: https://prometheus.io/docs/practices/naming/."""

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    disable_created_metrics,
    generate_latest,
)

from sampoll.core.errors import translated_os_errors
from sampoll.core.events import Event, InputScanned, Listener, Paused, WatchChecked, WatchOverflowed
from sampoll.files.atomic import replace_file
from sampoll.files.space import free_bytes
from sampoll.monitoring.health import ALONE, Health
from sampoll.monitoring.process_metrics import WORKER, Joined, ProcessMetrics
from sampoll.monitoring.queue_sizes import QueueSize

DISK_SECONDS = 10.0
"""Interval of checks of free space and of failed/, which may contain very many pairs."""

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """A listener that counts events, and reads the state of the service when metrics are requested. Disks are
    checked in the thread that scans the input, so that a disk that hangs does not block HTTP requests.

    A service of several processes has queues by the number of each worker, and a listener for each, `of`; the
    metrics of a process then have the label `worker`.
    """

    def __init__(
        self,
        health: Health,
        queues: Mapping[int, Mapping[str, QueueSize]],
        roots: Mapping[str, Path],
        failed_pairs: Callable[[], int],
    ) -> None:
        """`roots` are the directories whose free space is measured, by their role: input, output."""
        self.failed_pairs = 0
        """The number of pairs in failed/ at the last check."""
        self._count_failed_pairs = failed_pairs
        self._roots = roots
        self._disks_looked_at: float | None = None
        self._registry = registry = CollectorRegistry()
        if ALONE in queues:
            self._processes = {ALONE: ProcessMetrics(registry, queues[ALONE])}
        else:
            registries = {worker: CollectorRegistry() for worker in queues}
            self._processes = {
                worker: ProcessMetrics(own, queues[worker]) for worker, own in registries.items()
            }
            registry.register(Joined(registries))
            self._restarts = Counter(
                "sampoll_worker_restarts",
                "Starts of a worker after the first one.",
                [WORKER],
                registry=registry,
            )
            for worker in queues:
                self._restarts.labels(worker)
        self._pairs = Gauge(
            "sampoll_pairs", "Pairs in the input, by their state.", ["state"], registry=registry
        )
        self._oldest_ready = Gauge(
            "sampoll_oldest_ready_age_seconds",
            "Age of the oldest ready pair at the last scan.",
            registry=registry,
        )
        self._passed_over = Gauge(
            "sampoll_passed_over",
            "Pairs, files and folders of the input that cannot be read or moved.",
            registry=registry,
        )
        self._watcher_up = Gauge(
            "sampoll_watcher_up",
            "1 if the system announces new files, 0 if only scans find them.",
            registry=registry,
        )
        self._overflows = Counter(
            "sampoll_watcher_overflows", "Number of times that events were lost.", registry=registry
        )
        build = Info("sampoll_build", "Versions of sampoll and its libraries.", registry=registry)
        build.info({"version": version("sampoll"), "torch": version("torch")})
        self._free = Gauge(
            "sampoll_free_bytes", "Free bytes on the disk of a directory.", ["root"], registry=registry
        )
        self._look_at(health)

    def _look_at(self, health: Health) -> None:
        looks = {
            "sampoll_healthy": ("0 if the service should be restarted.", lambda: float(health.is_healthy)),
            "sampoll_ready": ("1 if the service takes jobs.", lambda: float(health.is_ready)),
            "sampoll_in_flight_jobs": ("Jobs that are in flight.", lambda: float(len(health.in_flight()))),
            "sampoll_sweep_age_seconds": (
                "Since the last scan of the input, or since a job was taken from it.",
                lambda: health.look_age_seconds,
            ),
            "sampoll_failed_pairs": ("Pairs in failed/.", lambda: float(self.failed_pairs)),
        }
        for name, (text, look) in looks.items():
            Gauge(name, text, registry=self._registry).set_function(look)

    def _look_at_disks(self, every_seconds: float = DISK_SECONDS) -> None:
        now = time.monotonic()
        if self._disks_looked_at is not None and now - self._disks_looked_at < every_seconds:
            return
        self._disks_looked_at = now
        for root, directory in self._roots.items():
            self._free.labels(root).set(_free_bytes(directory))
        self.failed_pairs = self._count_failed_pairs()

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)

    def write(self, path: Path) -> None:
        """Writes all metrics into a file, atomically."""
        self._look_at_disks(every_seconds=0.0)
        with translated_os_errors("write the metrics", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, self.text())

    def __call__(self, event: Event) -> None:
        self._take(ALONE, event)

    def of(self, worker: int) -> Listener:
        """The listener for the events of one worker."""
        return partial(self._take, worker)

    def note_restart(self, worker: int) -> None:
        self._restarts.labels(worker).inc()

    def _take(self, worker: int, event: Event) -> None:
        self._processes[worker](event)
        match event:
            case Paused():
                self._look_at_disks(every_seconds=0.0)
            case WatchChecked(is_up):
                self._watcher_up.set(is_up)
            case WatchOverflowed():
                self._overflows.inc()
            case InputScanned(backlog):
                for state in ("ready", "settling", "half", "deferred"):
                    self._pairs.labels(state).set(getattr(backlog, state))
                self._oldest_ready.set(backlog.oldest_ready_seconds)
                self._passed_over.set(backlog.passed_over)
                self._look_at_disks()


def _free_bytes(directory: Path) -> float:
    """NaN where there is no such directory just now."""
    try:
        return float(free_bytes(os.statvfs(directory)))
    except OSError:
        return float("nan")
