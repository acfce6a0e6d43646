"""Where the parts meet: settings in, a finished run and its exit code out."""

import logging
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from sampoll.decoding import DecodingLimits, decode
from sampoll.embedding_cache import EmbeddingCache
from sampoll.errors import (
    ConfigurationError,
    CutShort,
    Fenced,
    InputUnavailable,
    JobError,
    OutputUnavailable,
    PermissionRefused,
    SampollError,
    StorageTrouble,
    UsageError,
    translated_os_errors,
)
from sampoll.events import Broadcast, Events
from sampoll.formats.records import listed_suffixes
from sampoll.interfaces import KeepingSegmenter, Segmenter
from sampoll.listeners import Log, Tally, progress_bar
from sampoll.registry import Factory, find_factory, load_format, load_segmenter
from sampoll.resolution import default_config_files
from sampoll.service import Service, default_io_threads, executors_on
from sampoll.settings import ModelSettings, Settings, SpoolSettings
from sampoll.signals import outside_the_main_thread, stopping_on_signals
from sampoll.spool.files import Durability
from sampoll.spool.layout import DONE, Layout
from sampoll.spool.probing import probe
from sampoll.spool.results import Naming, OnExist
from sampoll.spool.scan import Readiness
from sampoll.spool.writers import ignore_lease_breaks
from sampoll.transports.directory import DirectoryOptions, DirectoryTransport, directory_transport
from sampoll.transports.pairs import SizeLimits

log = logging.getLogger(__name__)

FORMATS = ("png", "opex")
"""The last one is the commit record."""
LONGEST_PAUSE_SECONDS = 30.0
"""Between two looks at directories that could not be used; a session that lasted longer was a good one."""


def run(settings: Settings, *, show_progress: bool) -> tuple[int, str]:
    """Serves the input directory; returns the exit code and a summary in one line.

    Raises SampollError for whatever keeps the run from working at all.
    """
    layout = layout_of(settings.spool)
    factory = find_factory(settings.model)
    tally = Tally()
    with ExitStack() as stack:
        listeners: list[Events] = [Log(), tally]
        if show_progress:
            listeners.append(stack.enter_context(progress_bar()))
        ignore_lease_breaks()
        application = _Application(settings, layout, factory, Broadcast(listeners))
        stack.enter_context(stopping_on_signals(application.stop))
        outside_the_main_thread(application.run)
    return _exit_code(settings, tally, stopped=application.is_stopped), tally.summary()


class _Application:
    """One session after the other on the same directories. A session ends with the work, or with trouble: the
    input went away, storage failed, others took our jobs. A service then waits until the directories can be
    used again, and begins a new session, as a new node that recovers what the last one left."""

    def __init__(self, settings: Settings, layout: Layout, factory: Factory, events: Events) -> None:
        self._settings = settings
        self._layout = layout
        self._factory = factory
        self._events = events
        self._stop = Event()
        self._session: tuple[DirectoryTransport, Event] | None = None
        self._former_nodes: set[str] = set()
        self._segmenter: Segmenter[Any] | None = None
        self._embeddings: EmbeddingCache[Any] | None = None

    @property
    def is_stopped(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Asks for an orderly end, from any thread."""
        log.info("stopping: the running batch is finished first; a second signal stops at once")
        self._stop.set()
        if self._session is not None:
            transport, session_stop = self._session
            session_stop.set()
            transport.note_stopping()

    def run(self) -> None:
        is_mount = self._layout.input.is_mount()
        first_pause_seconds = pause_seconds = self._settings.spool.rescan_seconds
        while True:
            began = time.monotonic()
            try:
                self._serve()
                return
            except (Fenced, InputUnavailable, PermissionRefused, StorageTrouble) as trouble:
                # A start that cannot work is for whoever starts it; so is any trouble of a one-shot run.
                if self._session is None or self._stop.is_set() or not self._settings.spool.continuous:
                    raise
                if time.monotonic() - began > LONGEST_PAUSE_SECONDS:
                    pause_seconds = first_pause_seconds
                # Said once, not at each try.
                is_new = pause_seconds == first_pause_seconds
                log.log(logging.ERROR if is_new else logging.DEBUG, "paused: %s", trouble)
            if not self._wait_until_usable(pause_seconds, is_mount=is_mount):
                return
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
            log.info("trying again with %s", self._layout.input)

    def _wait_until_usable(self, pause_seconds: float, *, is_mount: bool) -> bool:
        """False if somebody asked for the end meanwhile."""
        while not self._stop.wait(pause_seconds):
            # Below a mount that went away lies an empty directory, which is not the input.
            if is_mount and not self._layout.input.is_mount():
                continue
            try:
                probe(self._layout, self._settings.spool.min_free_bytes)
            except SampollError as error:
                log.debug("still paused: %s", error)
            else:
                return True
        return False

    def _serve(self) -> None:
        """One session; raises the trouble that ends it before its time."""
        session_stop = Event()
        probe(self._layout, self._settings.spool.min_free_bytes)
        with directory_transport(
            self._layout, _options(self._settings), self._events, self._former_nodes
        ) as transport:
            self._session = transport, session_stop
            if self._stop.is_set():
                return
            if self._settings.spool.continuous or transport.has_work(session_stop):
                try:
                    self._service(transport).run(session_stop)
                except StorageTrouble as error:
                    if transport.is_fenced():
                        raise Fenced("another process has taken the jobs of this one") from error
                    raise
            if transport.has_lost_its_input():
                raise InputUnavailable(f"the input {self._layout.input} has gone or was replaced")
            if session_stop.is_set():  # the stop file asked for it
                self._stop.set()

    def _service(self, transport: DirectoryTransport) -> Service:
        if self._segmenter is None:
            self._segmenter = load_segmenter(self._settings.model, self._factory)
            self._embeddings = kept_embeddings(self._segmenter, self._settings.model)
        limits = DecodingLimits(self._settings.limits.max_pixels, self._settings.limits.max_prompts)
        model = self._settings.model
        known = None if self._embeddings is None else self._embeddings.known
        log.info("%s: ready", self._layout.input)
        return Service(
            transport=transport,
            decode=partial(decode, limits=limits, known=known),
            segmenter=self._segmenter,
            embeddings=self._embeddings,
            formats=[load_format(name) for name in FORMATS],
            batch_size=model.batch_size_on(self._segmenter.info.device),
            max_wait_seconds=model.max_wait_seconds,
            io_threads=self._settings.operations.io_threads or default_io_threads(),
            executors=executors_on(self._segmenter.info.device),
        )


def kept_embeddings(segmenter: Segmenter[Any], settings: ModelSettings) -> EmbeddingCache[Any] | None:
    """The cache that the settings ask for, if the segmenter has embeddings that are worth it."""
    if not isinstance(segmenter, KeepingSegmenter):
        return None
    return EmbeddingCache(segmenter, settings.embedding_memory_bytes, settings.embedding_cache)


def _exit_code(settings: Settings, tally: Tally, *, stopped: bool) -> int:
    if settings.spool.continuous:
        return 0
    if stopped or tally.last_backlog.deferred:
        return CutShort.exit_code
    return JobError.exit_code if tally.failures else 0


def _options(settings: Settings) -> DirectoryOptions:
    spool, limits = settings.spool, settings.limits
    return DirectoryOptions(
        continuous=spool.continuous,
        readiness=Readiness(spool.settle_seconds, spool.ready_suffix, spool.pair_timeout_seconds),
        rescan_seconds=spool.rescan_seconds,
        give_up_seconds=spool.give_up_seconds,
        max_attempts=spool.max_attempts,
        size_limits=SizeLimits(limits.max_image_bytes, limits.max_prompt_bytes),
        durability=Durability(spool.durability),
        naming=Naming(OnExist(spool.on_exist), listed_suffixes),
        watch=spool.watch,
        lease_seconds=spool.lease_seconds,
        exclusive=spool.exclusive,
        min_free_bytes=spool.min_free_bytes,
        stop_file=spool.stop_file,
    )


def layout_of(settings: SpoolSettings) -> Layout:
    """The directories of a run, which exist when this returns and do not get in each other's way."""
    if settings.input is None or settings.output is None:
        raise UsageError(_missing_directories(settings))
    input_directory = settings.input.resolve()
    with translated_os_errors("look at", settings.input):
        if not input_directory.is_dir():
            raise InputUnavailable(f"no input directory {settings.input}: create it, or correct --input")
    output = settings.output.resolve()
    if _one_inside_the_other(input_directory, output):
        raise ConfigurationError(
            f"the output {output} and the input {input_directory} must not be equal or inside one another: "
            "results would be taken for new pairs"
        )
    _create(output)
    done = _done_directory(settings, input_directory, output)
    return Layout(input_directory, output, done, settings.recursive)


def _done_directory(settings: SpoolSettings, input_directory: Path, output: Path) -> Path | None:
    match settings.done:
        case "keep":
            return input_directory / DONE
        case "delete":
            return None
        case chosen:
            done = Path(chosen).resolve()
    if done.is_relative_to(input_directory):
        raise ConfigurationError(
            f"--done {done} must not be inside the input {input_directory}; --done keep uses its own "
            f"directory {DONE} there"
        )
    if done == output:
        raise ConfigurationError(
            f"--done {done} must not be the output, where prompts would look like results"
        )
    _create(done)
    return done


def _one_inside_the_other(a: Path, b: Path) -> bool:
    return a.is_relative_to(b) or b.is_relative_to(a)


def _create(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except PermissionError as error:
        raise PermissionRefused(f"cannot create {directory}: {error.strerror}") from error
    except OSError as error:
        raise OutputUnavailable(f"cannot create {directory}: {error.strerror}") from error


def _missing_directories(settings: SpoolSettings) -> str:
    missing = " and ".join(
        name for name, value in (("input", settings.input), ("output", settings.output)) if value is None
    )
    files = " or ".join(str(path) for path in default_config_files())
    return (
        f"no {missing} directory is set: give --input DIR and --output DIR, or set SAMPOLL_INPUT and "
        f"SAMPOLL_OUTPUT, or write input and output under [spool] in {files}"
    )
