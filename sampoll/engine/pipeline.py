"""reader -> loaders -> executor -> writer: submissions in, artifacts out, until there are no more or
`stop` is set.

The reader takes submissions and passes them to a pool of loaders, which decode them; the collector passes the
jobs on, in order. Executors, the first in the caller's thread, run batches. The writer has a pool render the
results, and delivers them.

One budget of bytes bounds the images of all stages. The reader reserves, in their order, what images take
while they are decoded; a loader gives back what the pixels do not need, and the executor the rest. Rendering
makes a reservation of its own. No stages block each other: what the reader waits for is held by images that
it has passed on, and by renderings. Such an image goes on to its end without reserving anything but its
rendering, and a rendering waits only for other renderings.

An exception in one stage closes all channels, so that the other stages end, and is raised again from `run`;
the transport's `close` then returns the submissions in flight to their source.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event, Thread
from typing import Any, TypeAlias, TypeVar

from sampoll.config.settings.limits import MASK_BYTES
from sampoll.core.budget import Budget, Reservation
from sampoll.core.channel import Channel
from sampoll.core.errors import JobError, as_value
from sampoll.core.events import BatchStarted, Listener, ignore_events
from sampoll.core.jobs import LOW_RES_SIDE, Job, KnownImage, Submission
from sampoll.core.protocols import BoundedTransport, Format, Segmenter, Transport
from sampoll.core.results import Delivery, ResultSummary, Segmentation
from sampoll.core.turns import turn
from sampoll.engine.embedding_cache import EmbeddingCache
from sampoll.engine.executor import Executor, Outcome
from sampoll.engine.in_flight import InFlight
from sampoll.engine.progress import Progress
from sampoll.engine.render import Clean, rendered, unchanged
from sampoll.files.cores import usable_cores
from sampoll.formats.registry import needs_image
from sampoll.inputs.decode import decoding_bytes

log = logging.getLogger(__name__)

Decode: TypeAlias = Callable[[Submission], Job]
"""Raises JobError for a submission that cannot become a job."""
FormatsOf: TypeAlias = Callable[[Submission], Sequence[Format]]
"""The formats in which the result of a submission is rendered."""

T = TypeVar("T")
Argument = TypeVar("Argument")
Queues: TypeAlias = dict[str, Channel[Any]]

MEMORY_BYTES = 1536 * 2**20
"""Limit for the images in all stages together; one image of any size is always allowed in a stage."""
LEAST_BYTES = 64 * 2**10
"""What each job counts at least towards MEMORY_BYTES, so that very small ones do not pile up. An image whose
embedding is cached counts what the embedding takes."""
PROMPT_BYTES_PER_BYTE = 8
"""What prompts take in memory, divided by the size of their file, at most."""
MASK_KEY = b'"mask"'
PROMPT_MASK_BYTES = 4 * LOW_RES_SIDE**2
RENDERING_BYTES_PER_PIXEL = 7
"""Measured: cleaning a mask, which takes more than to find its outlines."""
LOADING, RENDERING = "loading", "rendering"
"""The stages that reserve memory; images keep that for loading until they are segmented."""
SHARES = {LOADING: 1024 * 2**20, RENDERING: MEMORY_BYTES}
CHUNK_BYTES = 2 * 2**20
"""What one call of a loader or a renderer takes: one image, or several small ones, which would be handed over
more slowly than decoded one by one."""
TINY_BYTES = 128 * 2**10
"""An image of so many bytes is decoded, and its masks are rendered, sooner than another thread is woken."""
BATCHES_AHEAD = 2
"""While more is in flight than so many batches of each executor, and more than end in SECONDS_AHEAD, nothing
is taken: it is left to other processes, which may be idle."""
LOADS_PER_THREAD = 2
"""Limit for the number of calls that wait for the loaders, per loader thread."""
MAX_IO_THREADS = 8
OUTCOMES = 128
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
    formats: Sequence[Format] | FormatsOf
    """Those of all submissions, or what returns those of one."""
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

    def formats_of(self, submission: Submission) -> Sequence[Format]:
        """The formats in which the result of this submission is rendered."""
        return self.formats(submission) if callable(self.formats) else self.formats


def default_io_threads() -> int:
    """Half the cores, at most MAX_IO_THREADS; the other half is left to the model or the system."""
    return max(1, min(MAX_IO_THREADS, usable_cores() // 2))


def executors_on(device: str) -> int:
    """Two on CUDA, so that the device computes the next batch while the results of one are transferred."""
    return 2 if device.startswith("cuda") else 1


class _Run:
    """One call of Service.run: its channels, its threads, and the first exception of a stage."""

    def __init__(self, service: Service, stop: Event) -> None:
        self._service = service
        self._transport = service.transport
        self._stop = stop
        self._memory = Budget(MEMORY_BYTES, SHARES)
        self._loading: Channel[_Loading] = Channel(max_items=LOADS_PER_THREAD * service.io_threads)
        self._decoded: Channel[_Decoded] = Channel()
        self._outcomes: Channel[tuple[Submission, Outcome]] = Channel(OUTCOME_BYTES, max_items=OUTCOMES)
        service.queues.update(loading=self._loading, decoded=self._decoded, outcomes=self._outcomes)
        self._known_image_bytes = 0 if service.embeddings is None else service.embeddings.embedding_bytes
        self._progress = Progress(service.emit)
        self._in_flight = InFlight()
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
            self._take_no_more()
            self._outcomes.close()
        finally:
            if downstream is not None:
                downstream.close()

    def _read(self, loaders: ThreadPoolExecutor) -> None:
        few = BATCHES_AHEAD * self._service.batch_size * self._service.executors
        if isinstance(self._transport, BoundedTransport):
            self._transport.bound_groups(partial(self._in_flight.room, few))
        for group in self._transport.submissions(self._stop):
            alone = any(submission.alone for submission in group)
            if alone:
                self._in_flight.wait_until_none()
            self._in_flight.enter(len(group))
            self._transport.begin(group)
            self._decoded.expect(len(group))
            if not self._passed_to(loaders, group):
                return
            if alone:
                self._in_flight.wait_until_none()
            self._in_flight.wait_until_few(few)

    def _passed_to(self, loaders: ThreadPoolExecutor, group: Sequence[Submission]) -> bool:
        """Passes a group to the loaders, small images several at once; False if the run is ending."""
        chunk: list[_Reserved] = []
        for number, submission in enumerate(group):
            amount = self._bytes_to_load(submission)
            memory = self._memory.reserve(LOADING, amount, waits=False)
            if memory is None or sum(each.memory.amount for each in chunk) + amount > CHUNK_BYTES:
                if not self._load(loaders, chunk):
                    return False
                chunk = []
            if memory is None:
                memory = self._awaited_memory(amount, len(group) - number)
            if memory is None:
                return False
            chunk.append(_Reserved(submission, memory))
        return self._load(loaders, chunk)

    def _load(self, loaders: ThreadPoolExecutor, chunk: Sequence["_Reserved"]) -> bool:
        if not chunk:
            return True
        amounts = [each.memory.amount for each in chunk]
        loading = _Loading(chunk, _done_by(loaders, self._loaded, chunk, is_tiny=max(amounts) <= TINY_BYTES))
        return self._loading.put(loading, sum(amounts))

    def _bytes_to_load(self, submission: Submission) -> int:
        decoding = 0 if submission.pixels is not None else decoding_bytes(submission.image)
        decoding = max(self._known_image_bytes, LEAST_BYTES, decoding)
        return decoding + _bytes_as_received(submission)

    def _awaited_memory(self, amount: int, expected: int) -> Reservation | None:
        """A reservation for decoding, as soon as there is one; None if the run is ending. Until then, no
        batch waits for this submission and the others of its group that are still `expected`."""
        self._decoded.expect(-expected)
        memory = self._memory.reserve(LOADING, amount)
        self._decoded.expect(expected)
        return memory

    def _loaded(self, chunk: Sequence["_Reserved"]) -> list[Job | JobError]:
        try:
            return [self._loaded_one(each.submission, each.memory) for each in chunk]
        except BaseException:
            for each in chunk:
                each.memory.release()
            raise

    def _loaded_one(self, submission: Submission, memory: Reservation) -> Job | JobError:
        try:
            job = self._service.decode(submission)
        except JobError as error:
            memory.release()
            return as_value(error)
        image = job.image
        own = self._known_image_bytes if isinstance(image, KnownImage) else image.nbytes
        memory.shrink(max(LEAST_BYTES, own) + _bytes_as_received(submission))
        return job

    def _collect(self) -> None:
        while loading := self._loading.take():
            if not self._collected(loading.pop()):
                self._loading.close()
                return

    def _collected(self, loading: "_Loading") -> bool:
        """Passes jobs on once they are decoded; False if the run is ending."""
        decoded: list[tuple[_Decoded, int]] = []
        failed: list[tuple[tuple[Submission, Outcome], int]] = []
        for each, job in zip(loading.chunk, loading.jobs.result(), strict=True):
            if isinstance(job, JobError):
                failed.append(((each.submission, job), 0))
            else:
                decoded.append((_Decoded(each.submission, each.memory, job), each.memory.amount))
        self._decoded.expect(-len(failed))
        return self._outcomes.put_all(failed) and self._decoded.put_all(decoded)

    def _execute(self) -> None:
        service = self._service
        executor = Executor(
            service.segmenter, service.batch_size, service.embeddings, service.emit, service.max_mask_bytes
        )
        while self._execute_batch(executor):
            pass

    def _execute_batch(self, executor: Executor) -> bool:
        """Runs the next batch; False if there is none. No reference to its images is left."""
        batch = self._decoded.take(executor.limit, self._service.max_wait_seconds)
        if self._stop.is_set():
            self._take_no_more()
            return False
        if not batch:
            return False
        submissions = [decoded.submission for decoded in batch]
        memory = [decoded.memory for decoded in batch]
        self._service.emit(BatchStarted(tuple(submission.id for submission in submissions)))
        # The executor alone has the jobs, and gives them up when they are done.
        outcomes = executor.run([decoded.job for decoded in batch])
        batch.clear()
        for part in outcomes:
            for reservation in memory[: len(part)]:
                reservation.release()
            ended = zip(submissions, part, strict=False)
            self._outcomes.put_all([(each, _mask_bytes(each[1])) for each in ended])
            del submissions[: len(part)], memory[: len(part)]
        return True

    def _take_no_more(self) -> None:
        """Ends the stages before the executors."""
        self._loading.close()
        self._decoded.close()
        self._memory.close(LOADING)
        self._in_flight.abandon()

    def _write(self, renderers: ThreadPoolExecutor) -> None:
        while taken := self._outcomes.take(OUTCOMES):
            with turn():
                chunks = _chunks(self._all_named(taken), self._rendering_bytes)
                rendering = [self._rendering(renderers, chunk) for chunk in chunks]
            deliveries = []
            for future in rendering:
                for submission, outcome in future.result():
                    if isinstance(outcome, JobError):
                        self._transport.reject(submission, outcome)
                    else:
                        deliveries.append(outcome)
            if deliveries:
                self._transport.deliver(deliveries)
            self._in_flight.leave(len(taken))

    def _all_named(self, taken: Sequence[tuple[Submission, Outcome]]) -> Iterator["_Named"]:
        """The segmentations under the names that their files will have; rejects all others."""
        for submission, outcome in taken:
            try:
                yield submission, self._named(submission, outcome)
            except JobError as error:
                self._transport.reject(submission, error)

    def _rendering(self, renderers: ThreadPoolExecutor, chunk: Sequence["_Named"]) -> "_Rendering":
        is_tiny = max(map(self._rendering_bytes, chunk)) <= TINY_BYTES
        return _done_by(renderers, self._deliveries, chunk, is_tiny=is_tiny)

    def _deliveries(self, chunk: Sequence["_Named"]) -> list[tuple[Submission, Delivery | JobError]]:
        return [(submission, self._delivery(submission, named)) for submission, named in chunk]

    def _delivery(self, submission: Submission, segmentation: Segmentation) -> Delivery | JobError:
        memory = self._memory.reserve(RENDERING, self._rendering_bytes((submission, segmentation)))
        try:
            return self._rendered(submission, segmentation)
        except JobError as error:
            return as_value(error)
        finally:
            if memory is not None:
                memory.release()

    def _rendering_bytes(self, named: "_Named") -> int:
        submission, segmentation = named
        opens_image = any(map(needs_image, self._service.formats_of(submission)))
        decoding = decoding_bytes(segmentation.image) if opens_image else 0
        return RENDERING_BYTES_PER_PIXEL * math.prod(segmentation.size) + decoding

    def _rendered(self, submission: Submission, segmentation: Segmentation) -> Delivery:
        began = time.perf_counter()
        formats = self._service.formats_of(submission)
        artifacts = rendered(formats, segmentation, self._service.clean, self._progress)
        seconds = {**segmentation.seconds, "rendering": time.perf_counter() - began}
        scores = [tuple(mask.score for mask in masks) for masks in segmentation.masks]
        suffixes = tuple(artifact.suffix for artifact in artifacts[:-1])
        summary = ResultSummary(
            suffixes, seconds, tuple(segmentation.in_file_order(scores, ())), segmentation.skipped
        )
        return Delivery(submission, artifacts, summary)

    def _named(self, submission: Submission, outcome: Outcome) -> Segmentation:
        """The segmentation under the name that its files will have; raises `outcome` if it is a JobError."""
        if isinstance(outcome, JobError):
            raise outcome
        formats = self._service.formats_of(submission)
        suffixes = [suffix for form in formats for suffix in form.suffixes(outcome)]
        name = self._transport.reserve(submission, suffixes)
        return replace(
            outcome,
            name=name,
            image_file=submission.image_file,
            image_path=submission.image_path,
            image=submission.image,
            pixels=submission.pixels,
        )


def _mask_bytes(outcome: Outcome) -> int:
    """What an outcome counts towards OUTCOME_BYTES."""
    return 0 if isinstance(outcome, JobError) else outcome.mask_bytes


def _done_by(
    pool: ThreadPoolExecutor, act: Callable[[Argument], T], argument: Argument, *, is_tiny: bool
) -> Future[T]:
    """What a thread of the pool makes of `argument`, or this one, if that takes less than to hand it over."""
    if not is_tiny:
        return pool.submit(act, argument)
    done: Future[T] = Future()
    with turn():
        done.set_result(act(argument))
    return done


def _chunks(items: Iterable[T], bytes_of: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in lists, none empty: of at most CHUNK_BYTES, or of one item."""
    chunk: list[T] = []
    chunk_bytes = 0
    for item in items:
        item_bytes = max(LEAST_BYTES, bytes_of(item))
        if chunk and chunk_bytes + item_bytes > CHUNK_BYTES:
            yield chunk
            chunk, chunk_bytes = [], 0
        chunk.append(item)
        chunk_bytes += item_bytes
    if chunk:
        yield chunk


_Named: TypeAlias = tuple[Submission, Segmentation]
"""A segmentation under the name that its files will have."""
_Rendering: TypeAlias = Future[list[tuple[Submission, Delivery | JobError]]]


@dataclass(frozen=True)
class _Reserved:
    """A submission, and the memory that decoding it may take."""

    submission: Submission
    memory: Reservation


@dataclass(frozen=True)
class _Loading:
    """Submissions at a loader."""

    chunk: Sequence[_Reserved]
    jobs: Future[list[Job | JobError]]


@dataclass(frozen=True)
class _Decoded:
    """A job that waits for the executor, and the memory that it takes."""

    submission: Submission
    memory: Reservation
    job: Job


def _bytes_as_received(submission: Submission) -> int:
    """The memory of the file and of its prompts, in which each mask has its full size."""
    masks = submission.prompt.count(MASK_KEY)
    return submission.image_bytes + PROMPT_BYTES_PER_BYTE * len(submission.prompt) + masks * PROMPT_MASK_BYTES


@contextmanager
def _pool(threads: int, name: str) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
