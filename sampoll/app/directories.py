"""The directories of a run: checks that they do not contain each other, and creates missing ones."""

from pathlib import Path

from sampoll.config.resolve import default_config_files
from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import (
    ConfigurationError,
    InputUnavailable,
    OutputUnavailable,
    PermissionRefused,
    UsageError,
    translated_os_errors,
)
from sampoll.core.filenames import DONE, IMAGE_SUFFIXES, PAIR_SUFFIXES
from sampoll.spool.layout import Layout


def layout_of(settings: SpoolSettings, *, creates: bool = True) -> Layout:
    """The directories of a run, checked not to contain each other; `creates` makes a missing output and a
    missing --done directory."""
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
    done = _done_directory(settings, input_directory, output)
    if creates:
        create_directory(output)
        if done is not None and not done.is_relative_to(input_directory):
            create_directory(done)
    return Layout(input_directory, output, done, settings.recursive, suffixes_of(settings))


def suffixes_of(settings: SpoolSettings) -> frozenset[str]:
    """The suffixes of the files that a run processes."""
    return PAIR_SUFFIXES if settings.prompt is None else IMAGE_SUFFIXES


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
    return done


def _one_inside_the_other(a: Path, b: Path) -> bool:
    return a.is_relative_to(b) or b.is_relative_to(a)


def create_directory(directory: Path) -> None:
    """Creates the directory of results, or of finished inputs, if it is missing."""
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
