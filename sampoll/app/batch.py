"""`sampoll batch`: the images of a tree that is only read, once, without any state but the results."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event as Flag

from sampoll.app.assembly import (
    common_prompt,
    decoding_options,
    format_options,
    load_model,
    named,
    service_of,
)
from sampoll.app.batch_source import BatchSource, batch_source
from sampoll.app.directories import create_directory, suffixes_of
from sampoll.app.made_with import asked_for, check_made_with, made_with, note_made_with
from sampoll.app.ray.order import Order, absolute, portable, sign_in
from sampoll.app.ray.rows import Row
from sampoll.app.signals import STOPPING, outside_the_main_thread, stopping_on_signals
from sampoll.config.plugins import DATASETS, plugins
from sampoll.config.settings import Settings
from sampoll.core.errors import (
    ConfigurationError,
    InputUnavailable,
    Interrupted,
    JobError,
    UsageError,
)
from sampoll.core.events import (
    Event,
    JobDone,
    JobFailed,
    JobSkipped,
    Listener,
    ModelLoaded,
    StopRequested,
    broadcast,
)
from sampoll.core.names import base_name, printable
from sampoll.core.protocols import Format
from sampoll.core.shards import WHOLE, Shard, shard_of
from sampoll.core.summary import CommandSummary
from sampoll.files.stores.opening import Address, address_of, opened, overlap
from sampoll.files.stores.store import Store
from sampoll.formats.options import FormatOptions
from sampoll.formats.registry import RECORD, load_format, load_formats
from sampoll.inputs.manifest import listed_images
from sampoll.models.registry import Factory, find_factory
from sampoll.monitoring.job_log import job_log
from sampoll.monitoring.monitor import Monitor, ServiceInfo, monitored
from sampoll.monitoring.progress_bar import JobProgress, progress
from sampoll.monitoring.tally import Tally
from sampoll.spool.selection import Selection
from sampoll.transports.batch.begun import Begun
from sampoll.transports.batch.ledger import FAILED_FOLDER, Ledger
from sampoll.transports.batch.manifest import ManifestSource
from sampoll.transports.batch.remaining import BatchJob, Remaining, WhichJobs
from sampoll.transports.batch.transport import BatchOptions, BatchTransport
from sampoll.transports.batch.tree import Pairing, TreeSource
from sampoll.transports.batch.work import WorkSource

log = logging.getLogger(__name__)

HALVES = "an image or a prompt without its other half is left: %s; --default-prompt is for such images"


@dataclass(frozen=True)
class BatchOutcome:
    """How a batch has ended. `failed_at` is where the reports of failures are."""

    exit_code: int
    summary: CommandSummary
    first_failures: Sequence[tuple[str, JobError]]
    failed_at: str


def run_batch(
    settings: Settings,
    source: str,
    output: str,
    listeners: Sequence[Listener],
    *,
    images: str | None = None,
    show_progress: bool,
) -> BatchOutcome:
    """Does the images of `source`, a tree or a manifest, that have no result in `output`; `images` is where
    those of a manifest are, if not beside it. Raises SampollError if it cannot work."""
    settings = named(settings)
    batch = _Batch(settings, find_factory(settings.model), batch_source(source, images), address_of(output))
    tally = Tally()
    with ExitStack() as stack:
        monitor = stack.enter_context(monitored(settings.monitoring, batch.info))
        everyone: list[Listener] = [*listeners, tally, *monitor.listeners]
        if settings.operations.report is not None:
            everyone.append(stack.enter_context(job_log(settings.operations.report)))
        bar = stack.enter_context(progress("image", 0, is_shown=show_progress))
        everyone.append(JobProgress(bar))
        stack.enter_context(stopping_on_signals(partial(batch.stop, broadcast(everyone))))
        outside_the_main_thread(partial(batch.run, broadcast(everyone), monitor))
    return BatchOutcome(
        _exit_code(tally, is_stopped=batch.is_stopped),
        tally.summary(),
        tally.first_failures,
        f"{batch.output}/{FAILED_FOLDER}",
    )


class _Batch:
    """One run of the command."""

    def __init__(self, settings: Settings, factory: Factory, source: BatchSource, output: Address) -> None:
        self._settings = settings
        self._factory = factory
        self._source = source
        self.output = output
        self._stop = Flag()
        self._shard = _shard(settings)
        self._decoding = decoding_options(settings)
        self._format_options = _format_options(settings, source.images, output)
        self._formats = _formats(settings, self._format_options)
        self._asked = asked_for(settings.model.model, self._format_options.settings)
        if overlap(source.images, output):
            raise ConfigurationError(
                f"the output {output} and the images in {source.images} must not be equal or inside one "
                "another: results would be taken for images and prompts"
            )

    @property
    def info(self) -> ServiceInfo:
        about = {"service": "batch", "input": str(self._source), "output": str(self.output)}
        roots = {"input": self._source.images, "output": self.output}
        return ServiceInfo(about, {name: path for name, path in roots.items() if isinstance(path, Path)})

    @property
    def is_stopped(self) -> bool:
        return self._stop.is_set()

    def stop(self, emit: Listener) -> None:
        """Requests an orderly stop; may be called from any thread."""
        log.warning(STOPPING, extra={"event": "stopping"})
        emit(StopRequested())
        self._stop.set()

    def run(self, emit: Listener, monitor: Monitor) -> None:
        with ExitStack() as stack:
            files = stack.enter_context(closing(self._opened_images()))
            results = stack.enter_context(closing(self._opened_output()))
            check_made_with(results, self._asked)
            work = stack.enter_context(self._work(files))
            begun = Begun(results, self._shard)
            ledger = Ledger(results)
            remaining = Remaining(work, ledger, begun, emit, self._which)
            if self._settings.batch.ray_actors is not None:
                stack.callback(begun.close)
                self._share(remaining, results, begun, emit)
            else:
                transport = BatchTransport(remaining, files, ledger, begun, self._options, emit)
                stack.callback(transport.close)
                if transport.has_work(self._stop):
                    self._serve(transport, results, emit, monitor)
            if remaining.first_halves:
                log.warning(HALVES, ", ".join(map(printable, remaining.first_halves)))
            elif remaining.is_empty:
                log.warning("there is no image and no prompt in %s", self._source)

    def _serve(self, transport: BatchTransport, results: Store, emit: Listener, monitor: Monitor) -> None:
        model = load_model(self._settings.model, self._factory)
        info = model.segmenter.info
        note_made_with(results, made_with(self._asked, info))
        self._note_ready()
        emit(ModelLoaded(info))
        service_of(
            self._settings,
            transport,
            model,
            model.decode_with(self._decoding),
            [*monitor.formats, *self._formats],
            emit=emit,
            queues=monitor.queues,
        ).run(self._stop)

    def _share(self, remaining: Remaining, results: Store, begun: Begun, emit: Listener) -> None:
        """Has actors of Ray do what remains."""
        rows: list[Row] = []
        for job in remaining.found(rows.__len__):
            if self._stop.is_set() or len(rows) == self._settings.spool.limit:
                break
            if isinstance(job, BatchJob):
                rows.append(Row(job.work, job.has_report, begun.strikes.get(job.work.stem)))
        suspects = {row.work.name: row.work.stem for row in rows if row.strikes is not None}

        def note(event: Event) -> None:
            if isinstance(event, JobDone | JobSkipped | JobFailed) and event.name in suspects:
                begun.forget(suspects[event.name])
            emit(event)

        if not rows or self._stop.is_set():
            return
        from sampoll.app.ray.engine import run_on_ray

        with sign_in(results) as sign:
            order = Order(
                portable(self._settings),
                absolute(self._source.images),
                absolute(self.output),
                self._options,
                self._format_options,
                self._asked,
                sign=sign,
                first_image=rows[0].work.image,
            )
            run_on_ray(order, rows, self._stop, note, self._note_ready)

    def _note_ready(self) -> None:
        log.info("%s: ready", self._source, extra={"event": "ready"})

    @contextmanager
    def _work(self, files: Store) -> Iterator[WorkSource]:
        """The pairs in the tree, or the images of the manifest."""
        spool = self._settings.spool
        needs_prompt = spool.prompt is None and spool.default_prompt is None
        selection = Selection(spool.include, spool.exclude)
        if self._source.manifest is None:
            yield TreeSource(
                files, Pairing(suffixes_of(spool), needs_prompt=needs_prompt, selection=selection)
            )
            return
        shown = base_name(str(self._source.manifest))
        with self._source.local_manifest(self._opened) as path:
            yield ManifestSource(
                listed_images(path, shown),
                shown,
                shard=self._shard,
                needs_prompt=needs_prompt,
                selection=selection,
            )

    @property
    def _which(self) -> WhichJobs:
        settings = self._settings
        return WhichJobs(self._shard, settings.batch.retry_failed, settings.spool.max_attempts)

    @property
    def _options(self) -> BatchOptions:
        settings = self._settings
        return BatchOptions(
            limits=settings.limits,
            exif=settings.model.exif,
            prompt=common_prompt(settings, self._decoding),
            max_attempts=settings.spool.max_attempts,
            limit=settings.spool.limit,
            transfers=settings.batch.transfers,
        )

    def _opened_images(self) -> Store:
        images = self._source.images
        if isinstance(images, Path) and not images.is_dir():
            raise InputUnavailable(f"no directory {images}: correct SOURCE or --images")
        return self._opened(images)

    def _opened_output(self) -> Store:
        if isinstance(self.output, Path):
            create_directory(self.output)
        return self._opened(self.output)

    def _opened(self, address: Address) -> Store:
        batch = self._settings.batch
        return opened(
            address,
            transfers=batch.transfers,
            retry_seconds=batch.store_timeout_seconds,
            durability=self._settings.spool.durability,
        )


def _shard(settings: Settings) -> Shard:
    text = settings.batch.shard
    return WHOLE if text is None else shard_of(text, os.environ)


def _format_options(settings: Settings, source: Address, output: Address) -> FormatOptions:
    """Files can refer to the images where both are directories."""
    if isinstance(source, Path) and isinstance(output, Path):
        return format_options(settings, output.resolve(), source.resolve())
    return format_options(settings)


def _formats(settings: Settings, options: FormatOptions) -> list[Format]:
    chosen = load_formats(settings.outputs.names, options)
    if chosen.of_datasets:
        names = ", ".join(name for name in settings.outputs.names if name in plugins(DATASETS))
        raise UsageError(
            f"--format {names} is about all results together: once they are there, write it by sampoll export"
        )
    return [*chosen.of_results, load_format(RECORD, options)]


def _exit_code(tally: Tally, *, is_stopped: bool) -> int:
    if is_stopped:
        return Interrupted.exit_code
    has_failures = tally.failures or tally.failures_before or tally.last_backlog.passed_over
    return JobError.exit_code if has_failures else 0
