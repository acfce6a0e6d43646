"""Where the parts meet: settings in, a finished run and its exit code out."""

import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Event

from sampoll.decoding import DecodingLimits, decode
from sampoll.errors import (
    ConfigurationError,
    CutShort,
    InputUnavailable,
    JobError,
    OutputUnavailable,
    PermissionRefused,
    UsageError,
    translated_os_errors,
)
from sampoll.events import Broadcast, Events
from sampoll.listeners import Log, Tally, progress_bar
from sampoll.registry import find_factory, load_format, load_segmenter
from sampoll.service import Service
from sampoll.settings import Settings, SpoolSettings, default_config_files
from sampoll.signals import outside_the_main_thread, stopping_on_signals
from sampoll.spool.files import Durability
from sampoll.spool.layout import DONE, Layout
from sampoll.transports.directory import DirectoryOptions, directory_transport

log = logging.getLogger(__name__)

FORMATS = ("png", "opex")
"""The last one is the commit record."""


def run(settings: Settings, *, show_progress: bool) -> tuple[int, str]:
    """Serves the input directory; returns the exit code and a summary in one line.

    Raises SampollError for whatever keeps the run from working at all.
    """
    layout = layout_of(settings.spool)
    factory = find_factory(settings.model)
    tally, stop = Tally(), Event()
    with ExitStack() as stack:
        listeners: list[Events] = [Log(), tally]
        if show_progress:
            listeners.append(stack.enter_context(progress_bar()))
        transport = stack.enter_context(directory_transport(layout, _options(settings), Broadcast(listeners)))

        def stop_in_order() -> None:
            log.info("stopping: the running batch is finished first; a second signal stops at once")
            stop.set()
            transport.note_stopping()

        def work() -> None:
            if not settings.spool.continuous and not transport.has_work(stop):
                return
            service = Service(
                transport=transport,
                decode=partial(
                    decode,
                    limits=DecodingLimits(settings.limits.max_pixels, settings.limits.max_prompts),
                ),
                segmenter=load_segmenter(settings.model, factory),
                formats=[load_format(name) for name in FORMATS],
                batch_size=settings.model.batch_size,
            )
            log.info("%s: watching" if settings.spool.continuous else "%s: processing", layout.input)
            service.run(stop)

        stack.enter_context(stopping_on_signals(stop_in_order))
        outside_the_main_thread(work)
    return _exit_code(settings, tally, stopped=stop.is_set()), tally.summary()


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
        settle_seconds=spool.settle_seconds,
        rescan_seconds=spool.rescan_seconds,
        give_up_seconds=spool.give_up_seconds,
        max_attempts=spool.max_attempts,
        max_image_bytes=limits.max_image_bytes,
        max_prompt_bytes=limits.max_prompt_bytes,
        durability=Durability(spool.durability),
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
    return Layout(input_directory, output, _done_directory(settings, input_directory, output))


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
