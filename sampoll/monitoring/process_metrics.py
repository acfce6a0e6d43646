"""What one process of a service does, as metrics of Prometheus."""

import re
from collections.abc import Iterator, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sampoll.core.events import (
    BatchDone,
    Event,
    JobDeferred,
    JobDone,
    JobFailed,
    JobSkipped,
    MemoryBudgeted,
    ModelLoaded,
    Paused,
)
from sampoll.monitoring.queue_sizes import QueueSize

STAGE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
BATCH_IMAGES = (1, 2, 4, 8, 16, 32, 64)
NO_ERROR = "none"
WORKER = "worker"
"""The label that says of which process of a service a sample is."""


class ProcessMetrics:
    """A listener that counts the events of one process. `queues` has its queues once it has any."""

    def __init__(self, registry: CollectorRegistry, queues: Mapping[str, QueueSize]) -> None:
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
        self._pauses = Counter("sampoll_pauses", "Pauses, by their reason.", ["reason"], registry=registry)
        self._last_success = Gauge(
            "sampoll_last_success_timestamp_seconds",
            "Time at which the last job was done.",
            registry=registry,
        )
        self._model = Info("sampoll_model", "The model and its device.", registry=registry)
        self._memory = Gauge(
            "sampoll_memory_budget_bytes",
            "The most that a stage holds in memory.",
            ["stage"],
            registry=registry,
        )
        _measure_queues(registry, queues)
        for outcome in ("done", "skipped", "failed", "deferred"):
            self._jobs.labels(outcome)

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


class Joined(Collector):
    """The metrics of several processes, each with the label of its process."""

    def __init__(self, registries: Mapping[int, CollectorRegistry]) -> None:
        self._registries = registries

    def collect(self) -> Iterator[Metric]:
        joined: dict[str, Metric] = {}
        for worker, registry in self._registries.items():
            for metric in registry.collect():
                family = joined.setdefault(
                    metric.name, Metric(metric.name, metric.documentation, metric.type, metric.unit)
                )
                family.samples += [
                    sample._replace(labels={**sample.labels, WORKER: str(worker)})
                    for sample in metric.samples
                ]
        yield from joined.values()


def _measure_queues(registry: CollectorRegistry, queues: Mapping[str, QueueSize]) -> None:
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


def _jobs_in(queues: Mapping[str, QueueSize], queue: str) -> float:
    """The jobs in a queue; 0 before the service runs, when it has no queues yet."""
    return float(len(queues[queue])) if queue in queues else 0.0


def _bytes_in(queues: Mapping[str, QueueSize], queue: str) -> float:
    return float(queues[queue].cost) if queue in queues else 0.0


def _snake(name: str) -> str:
    """InputUnavailable -> input_unavailable."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
