"""What happens, as metrics of Prometheus. Names and units: https://prometheus.io/docs/practices/naming/."""

import os
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)

from sampoll.core.errors import translated_os_errors
from sampoll.core.events import (
    BatchDone,
    Event,
    InputScanned,
    JobDeferred,
    JobDone,
    JobFailed,
    JobSkipped,
    MemoryBudgeted,
    ModelLoaded,
    Paused,
    WatchChecked,
    WatchOverflowed,
)
from sampoll.engine.pipeline import Queues
from sampoll.files.atomic import replace_file
from sampoll.files.space import free_bytes
from sampoll.monitoring.health import Health

STAGE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
BATCH_IMAGES = (1, 2, 4, 8, 16, 32, 64)
NO_ERROR = "none"
DISK_SECONDS = 10.0
"""Interval of checks of free space and of failed/, which may contain very many pairs."""

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """A listener that counts events, and reads the state of the process when metrics are requested. Disks are
    checked in the thread that scans the input, so that a disk that hangs does not block HTTP requests."""

    def __init__(
        self, health: Health, queues: Queues, roots: Mapping[str, Path], failed_pairs: Callable[[], int]
    ) -> None:
        """`roots` are the directories whose free space is measured, by their role: input, output."""
        self.failed_pairs = 0
        """The number of pairs in failed/ at the last check."""
        self._count_failed_pairs = failed_pairs
        self._roots = roots
        self._disks_looked_at: float | None = None
        self._registry = registry = CollectorRegistry()
        self._jobs = Counter("sampoll_jobs", "Jobs, by their outcome.", ["outcome"], registry=registry)
        self._attempts = Counter(
            "sampoll_attempts",
            "Attempts, by the code of the error; none for those that succeeded.",
            ["code"],
            registry=registry,
        )
        self._skipped_prompts = Counter(
            "sampoll_skipped_prompts", "Bad prompts that were left out of a result.", registry=registry
        )
        self._stages = Histogram(
            "sampoll_stage_duration_seconds",
            "Seconds per image; the time of a batch is divided by its images.",
            ["stage"],
            buckets=STAGE_SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "sampoll_batch_images", "Images in a batch.", buckets=BATCH_IMAGES, registry=registry
        )
        self._embeddings = Counter(
            "sampoll_embeddings", "Embeddings, by their source.", ["source"], registry=registry
        )
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
        self._pauses = Counter("sampoll_pauses", "Pauses, by their reason.", ["reason"], registry=registry)
        self._last_success = Gauge(
            "sampoll_last_success_timestamp_seconds",
            "Time at which the last job was done.",
            registry=registry,
        )
        self._model = Info("sampoll_model", "The model and its device.", registry=registry)
        build = Info("sampoll_build", "Versions of sampoll and its libraries.", registry=registry)
        build.info({"version": version("sampoll"), "torch": version("torch")})
        self._free = Gauge(
            "sampoll_free_bytes", "Free bytes on the disk of a directory.", ["root"], registry=registry
        )
        self._memory = Gauge(
            "sampoll_memory_budget_bytes",
            "The most that a stage holds in memory.",
            ["stage"],
            registry=registry,
        )
        self._look_at(health, queues)
        for outcome in ("done", "skipped", "failed", "deferred"):
            self._jobs.labels(outcome)

    def _look_at(self, health: Health, queues: Queues) -> None:
        registry = self._registry
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
            Gauge(name, text, registry=registry).set_function(look)
        depth = Gauge("sampoll_queue_jobs", "Jobs between two stages.", ["queue"], registry=registry)
        size = Gauge(
            "sampoll_queue_bytes",
            "Approximate memory of the jobs between two stages.",
            ["queue"],
            registry=registry,
        )
        for queue in ("loading", "decoded", "outcomes"):
            depth.labels(queue).set_function(partial(_jobs_in, queues, queue))
            size.labels(queue).set_function(partial(_bytes_in, queues, queue))

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
        match event:
            case ModelLoaded(model):
                about = {"model": model.name, "device": model.device, "precision": model.precision or ""}
                self._model.info({**about, "engine": model.engine or ""})
            case MemoryBudgeted(stages):
                for stage in stages:
                    self._memory.labels(stage.stage).set(stage.bytes)
            case Paused(error):
                self._pauses.labels(_snake(type(error).__name__)).inc()
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
            case BatchDone(images, known):
                self._batches.observe(images)
                self._embeddings.labels("cache").inc(known)
                self._embeddings.labels("model").inc(images - known)
            case JobDone() | JobSkipped() | JobFailed() | JobDeferred():
                self._count(event)

    def _count(self, event: JobDone | JobSkipped | JobFailed | JobDeferred) -> None:
        """A job has come to an outcome, or is to be tried again."""
        match event:
            case JobDone(summary=summary):
                self._jobs.labels("done").inc()
                self._attempts.labels(NO_ERROR).inc()
                self._last_success.set_to_current_time()
                self._skipped_prompts.inc(len(summary.skipped))
                for stage, seconds in summary.seconds.items():
                    self._stages.labels(stage).observe(seconds)
            case JobSkipped():
                self._jobs.labels("skipped").inc()
            case JobFailed(error=error):
                self._jobs.labels("failed").inc()
                self._attempts.labels(error.code).inc()
            case JobDeferred(error=error):
                self._jobs.labels("deferred").inc()
                self._attempts.labels(error.code).inc()


def _jobs_in(queues: Queues, queue: str) -> float:
    """The jobs in a queue; 0 before the service runs, when it has no queues yet."""
    return float(len(queues[queue])) if queue in queues else 0.0


def _bytes_in(queues: Queues, queue: str) -> float:
    return float(queues[queue].cost) if queue in queues else 0.0


def _free_bytes(directory: Path) -> float:
    """NaN where there is no such directory just now."""
    try:
        return float(free_bytes(os.statvfs(directory)))
    except OSError:
        return float("nan")


def _snake(name: str) -> str:
    """InputUnavailable -> input_unavailable."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
