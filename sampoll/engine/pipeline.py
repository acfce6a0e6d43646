"""reader -> loaders -> executor -> writer: submissions in, artifacts out, until there are no more or
`stop` is set.

The reader takes submissions and passes them to a pool of loaders, which decode them; the collector passes the
jobs on, in order. Executors, the first in the caller's thread, run batches. The writer has a pool render the
results, and delivers them.

An exception in one stage closes all channels, so that the other stages end, and is raised again from `run`;
the transport's `close` then returns the submissions in flight to their source.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Condition, Event, Thread
from typing import Any, TypeAlias

from sampoll.config.settings import MASK_BYTES
from sampoll.core.channel import Channel
from sampoll.core.errors import JobError
from sampoll.core.events import Listener, ignore_events
from sampoll.core.jobs import Job, KnownImage, Submission
from sampoll.core.names import base_name
from sampoll.core.protocols import Format, Segmenter, Transport
from sampoll.core.results import Delivery, ResultSummary, Segmentation
from sampoll.engine.embedding_cache import EmbeddingCache
from sampoll.engine.executor import Executor, Outcome
from sampoll.engine.progress import Progress
from sampoll.engine.render import Clean, rendered, unchanged

log = logging.getLogger(__name__)

Decode: TypeAlias = Callable[[Submission], Job]
"""Raises JobError for a submission that cannot become a job."""

Queues: TypeAlias = dict[str, Channel[Any]]

DECODED_BYTES = 512 * 2**20
"""Limit for the decoded images that wait for the executor; one image of any size is always allowed."""
KNOWN_IMAGE_BYTES = 4 * 2**20
"""What an image with a cached embedding counts towards DECODED_BYTES: about the size of the embedding."""
LOADING_BYTES = 256 * 2**20
"""Limit for the images at the loaders, by their estimated size after decoding."""
LOADS_PER_THREAD = 2
"""Limit for the number of images at the loaders, per loader thread."""
COMPRESSION = 10
"""The size of a decoded photograph divided by that of its file, approximately."""
MAX_IO_THREADS = 8
OUTCOMES = 64
"""Limit for the number of outcomes that wait for the writer."""
OUTCOME_BYTES = 128 * 2**20
"""Limit for the masks of the outcomes that wait for the writer; those of one job are always allowed."""


@dataclass(frozen=True)
class Service:
    """Processes every submission of `transport` until it is delivered or rejected.

    A batch starts when it has `batch_size` images, when the first of them has waited for `max_wait_seconds`,
    or when no more are expected. `io_threads` threads decode images, and as many render results. With several
    `executors`, that many batches run in the segmenter at once, and they may finish in another order.
    """

    transport: Transport
    decode: Decode
    segmenter: Segmenter[Any]
    formats: Sequence[Format]
    batch_size: int
    clean: Clean = unchanged
    max_wait_seconds: float = 0.0
    io_threads: int = 1
    executors: int = 1
    embeddings: EmbeddingCache[Any] | None = None
    max_mask_bytes: int = MASK_BYTES
    """What the masks of a batch may take in memory; a job whose masks take more fails."""
    emit: Listener = ignore_events
    queues: Queues = field(default_factory=dict)
    """The channels between the stages, by name; set by `run`."""

    def run(self, stop: Event) -> None:
        """Returns when the transport has no more submissions, or, after `stop`, when the batch that
        is running has been delivered."""
        _Run(self, stop).run()


def default_io_threads() -> int:
    """Half the cores, at most MAX_IO_THREADS; the other half is left to the model or the system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MAX_IO_THREADS, cores // 2))


def executors_on(device: str) -> int:
    """Two on CUDA, so that the device computes the next batch while the results of one are transferred."""
    return 2 if device.startswith("cuda") else 1


class _Run:
    """One call of Service.run: its channels, its threads, and the first exception of a stage."""

    def __init__(self, service: Service, stop: Event) -> None:
        self._service = service
        self._transport = service.transport
        self._stop = stop
        self._loading: Channel[tuple[Submission, Future[Job]]] = Channel(LOADING_BYTES)
        self._decoded: Channel[tuple[Submission, Job]] = Channel(DECODED_BYTES)
        self._outcomes: Channel[tuple[Submission, Outcome]] = Channel(OUTCOME_BYTES)
        service.queues.update(loading=self._loading, decoded=self._decoded, outcomes=self._outcomes)
        self._progress = Progress(service.emit)
        self._in_flight = _InFlight()
        self._trouble: BaseException | None = None

    def run(self) -> None:
        with (
            _pool(self._service.io_threads, "loader") as loaders,
            _pool(self._service.io_threads, "renderer") as renderers,
        ):
            stages: dict[str, tuple[Callable[[], None], Channel[Any] | None]] = {
                "reader": (partial(self._read, loaders), self._loading),
                "collector": (self._collect, self._decoded),
                "writer": (partial(self._write, renderers), None),
            }
            threads = [Thread(target=self._guarded, args=stage, name=name) for name, stage in stages.items()]
            executors = [
                Thread(target=self._guarded, args=(self._execute,), name=f"executor {number}")
                for number in range(1, self._service.executors)
            ]
            for thread in (*threads, *executors):
                thread.start()
            self._guarded(self._execute)
            for thread in executors:
                thread.join()
            self._outcomes.close()
            for thread in threads:
                thread.join()
        if self._trouble is not None:
            raise self._trouble

    def _guarded(self, stage: Callable[[], None], downstream: Channel[Any] | None = None) -> None:
        """Runs a stage, then closes `downstream`; if the stage raised, closes all channels."""
        try:
            stage()
        except BaseException as error:  # noqa: BLE001  raised again by run(), in the caller's thread
            if self._trouble is None:
                self._trouble = error
            self._stop.set()
            for channel in (self._loading, self._decoded, self._outcomes):
                channel.close()
            self._in_flight.abandon()
        finally:
            if downstream is not None:
                downstream.close()

    def _read(self, loaders: ThreadPoolExecutor) -> None:
        for group in self._transport.submissions(self._stop):
            alone = any(submission.alone for submission in group)
            if alone:
                self._in_flight.wait_until_none()
            self._in_flight.enter(len(group))
            self._transport.begin(group)
            self._decoded.expect(len(group))
            for submission in group:
                future = loaders.submit(self._service.decode, submission)
                if not self._loading.put((submission, future), self._loading_cost(submission)):
                    return
            if alone:
                self._in_flight.wait_until_none()

    def _loading_cost(self, submission: Submission) -> int:
        share = LOADING_BYTES // (LOADS_PER_THREAD * self._service.io_threads)
        return max(share, COMPRESSION * len(submission.image))

    def _collect(self) -> None:
        while loading := self._loading.take():
            [(submission, future)] = loading
            try:
                job = future.result()
            except JobError as error:
                self._decoded.expect(-1)
                is_open = self._outcomes.put((submission, error), _outcome_cost(error))
            else:
                cost = KNOWN_IMAGE_BYTES if isinstance(job.image, KnownImage) else job.image.nbytes
                is_open = self._decoded.put((submission, job), cost)
            if not is_open:
                self._loading.close()
                return

    def _execute(self) -> None:
        service = self._service
        executor = Executor(
            service.segmenter, service.batch_size, service.embeddings, service.emit, service.max_mask_bytes
        )
        while batch := self._decoded.take(executor.limit, service.max_wait_seconds):
            if self._stop.is_set():
                self._decoded.close()
                self._in_flight.abandon()
                return
            submissions, outcomes = [s for s, _ in batch], executor.run([job for _, job in batch])
            batch.clear()  # so that images are not kept until all outcomes are taken
            for submission, outcome in zip(submissions, outcomes, strict=True):
                self._outcomes.put((submission, outcome), _outcome_cost(outcome))

    def _write(self, renderers: ThreadPoolExecutor) -> None:
        while taken := self._outcomes.take(OUTCOMES):
            rendering = []
            for submission, outcome in taken:
                try:
                    named = self._named(submission, outcome)
                except JobError as error:
                    self._transport.reject(submission, error)
                else:
                    rendering.append((submission, renderers.submit(self._delivery, submission, named)))
            deliveries = []
            for submission, future in rendering:
                try:
                    deliveries.append(future.result())
                except JobError as error:
                    self._transport.reject(submission, error)
            if deliveries:
                self._transport.deliver(deliveries)
            self._in_flight.leave(len(taken))

    def _delivery(self, submission: Submission, segmentation: Segmentation) -> Delivery:
        began = time.perf_counter()
        artifacts = rendered(self._service.formats, segmentation, self._service.clean, self._progress)
        seconds = {**segmentation.seconds, "rendering": time.perf_counter() - began}
        scores = tuple(tuple(mask.score for mask in masks) for masks in segmentation.masks)
        suffixes = tuple(artifact.suffix for artifact in artifacts[:-1])
        return Delivery(submission, artifacts, ResultSummary(suffixes, seconds, scores))

    def _named(self, submission: Submission, outcome: Outcome) -> Segmentation:
        """The segmentation under the name that its files will have; raises `outcome` if it is a JobError."""
        if isinstance(outcome, JobError):
            raise outcome
        suffixes = [suffix for form in self._service.formats for suffix in form.suffixes(outcome)]
        name = self._transport.reserve(submission, suffixes)
        image_file = base_name(submission.image_name)
        return replace(outcome, name=name, image_file=image_file, image=submission.image)


def _outcome_cost(outcome: Outcome) -> int:
    """What an outcome counts towards OUTCOME_BYTES: no more than OUTCOMES wait, however small they are."""
    mask_bytes = 0 if isinstance(outcome, JobError) else outcome.mask_bytes
    return max(OUTCOME_BYTES // OUTCOMES, mask_bytes)


@contextmanager
def _pool(threads: int, name: str) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


class _InFlight:
    """The number of submissions that were begun and are neither delivered nor rejected yet."""

    def __init__(self) -> None:
        self._count = 0
        self._abandoned = False
        self._changed = Condition()

    def enter(self, count: int) -> None:
        with self._changed:
            self._count += count

    def leave(self, count: int) -> None:
        with self._changed:
            self._count -= count
            self._changed.notify_all()

    def abandon(self) -> None:
        """Wakes every waiting thread, because the run is ending."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def wait_until_none(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0 or self._abandoned)
