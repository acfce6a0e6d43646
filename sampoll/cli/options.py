"""Command line flags made from the settings, so that each is described in one place."""

import functools
import inspect
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from sampoll.cli.commands import GENERAL, show_all
from sampoll.cli.output import presentable_lines, show
from sampoll.config.fields import Setting, all_settings, section_title
from sampoll.config.quantities import seconds_of
from sampoll.config.resolve import Resolved, describe, resolve
from sampoll.config.settings.values import FileInTheWay, no_file
from sampoll.core.errors import InputUnavailable, UsageError
from sampoll.core.suggestions import did_you_mean
from sampoll.files.home import expanded


def path_of(text: str) -> Path:
    """The path that a flag names; as in settings, a leading ~ is a home directory."""
    try:
        return Path(expanded(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def directory_of(text: str) -> Path:
    """The path of a directory, which need not exist."""
    try:
        return no_file(path_of(text))
    except FileInTheWay as error:
        raise typer.BadParameter(str(error)) from error


def results_of(text: str) -> Path:
    """The path of the output directory of a run."""
    try:
        return no_file(path_of(text))
    except FileInTheWay as error:
        raise InputUnavailable(f"OUTPUT: {error}") from error


def time_in(unit_seconds: float = 1.0) -> Callable[[str], float]:
    """A parser of times: the seconds of 90s or 10m; a plain number counts units of `unit_seconds`."""

    def seconds(text: str) -> float:
        try:
            given = seconds_of(text)
            found = float(given) * unit_seconds if given is text else float(given)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        if not 0 <= found < math.inf:
            raise typer.BadParameter(f"must be 0 or more, got {text}")
        return found

    return seconds


Command: TypeAlias = Callable[..., None]
ConfigOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="TOML file with settings.", metavar="FILE", parser=path_of, rich_help_panel=GENERAL),
]
PrintConfigOption: TypeAlias = Annotated[
    bool,
    typer.Option("--print-config", help="Show what is in force and from where.", rich_help_panel=GENERAL),
]
FromArgument: TypeAlias = Annotated[
    str | None, typer.Argument(help="The same as --input.", metavar="INPUT", show_default=False)
]
ToArgument: TypeAlias = Annotated[
    str | None, typer.Argument(help="The same as --output.", metavar="OUTPUT", show_default=False)
]
OutputArgument: TypeAlias = Annotated[
    Path, typer.Argument(help="The output directory of a run.", metavar="OUTPUT", parser=results_of)
]
ImagesArgument: TypeAlias = Annotated[
    list[Path], typer.Argument(help="Images, and folders to look for them in.", metavar="PATH")
]


def with_directories(flags: Mapping[str, Any], source: str | None, target: str | None) -> dict[str, Any]:
    """The flags, with the directories that are given as arguments; UsageError if a flag gives one too."""
    given = {key: path for key, path in (("input", source), ("output", target)) if path is not None}
    if given and not {"input", "output"}.isdisjoint(flags):
        raise UsageError(
            "the directories are given in two ways: give them as INPUT and OUTPUT, or by --input and --output"
        )
    return {**flags, **given}


def resolve_or_print(flags: Mapping[str, Any], config: Path | None, *, print_config: bool) -> Resolved:
    """The settings in force; with `print_config`, prints them and ends the command."""
    resolved = resolve(flags, os.environ, config)
    if print_config:
        for line in describe(resolved).splitlines():
            show(line)
        raise typer.Exit
    return resolved


@contextmanager
def presentable_refusals() -> Iterator[None]:
    """Escapes what an error of typer repeats of the command line: arguments may be names of files. Of the
    options that are similar to an unknown one, only the nearest is suggested."""
    try:
        yield
    except Exception as error:
        similar = getattr(error, "possibilities", None) or ()
        if hint := did_you_mean(getattr(error, "option_name", ""), similar):
            error.message = error.message.rstrip(".") + hint  # type: ignore[attr-defined]
            error.possibilities = None  # type: ignore[attr-defined]
        # The class that has it is typer's own in some versions, and that of click in others.
        if message := getattr(error, "format_message", None):
            error.format_message = lambda: presentable_lines(message())  # type: ignore[attr-defined]
        raise


def with_settings(*names: str) -> Callable[[Command], Command]:
    """A decorator that adds one flag for each named setting, and for each setting of a named section. The
    command receives the flags that the user has set as `flags`, by the keys of their settings. Those that are
    neither named nor everyday ones are shown by --help-all only."""
    settings = [s for s in all_settings() if (s.section in names or s.key in names) and s.is_flag]
    keys = {setting.key.replace("-", "_"): setting.key for setting in settings}
    rare = {
        name
        for name, setting in zip(keys, settings, strict=True)
        if not setting.is_everyday and setting.key not in names
    }

    def decorated(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(*args: Any, **values: Any) -> None:
            values.pop(_HELP_ALL.name, None)
            flags = {
                key: value for name, key in keys.items() if (value := values.pop(name)) not in (None, [])
            }
            command(*args, flags=flags, **values)

        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(command).parameters.values()
            if parameter.name != "flags"
        ]
        signature = inspect.Signature(
            [*(_flags()[key] for key in keys.values()), *own, *([_HELP_ALL] if rare else [])]
        )
        wrapped.__signature__ = signature  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        wrapped.rare = frozenset(rare)  # type: ignore[attr-defined]
        return wrapped

    return decorated


_HELP_ALL = inspect.Parameter(
    "help_all",
    inspect.Parameter.KEYWORD_ONLY,
    default=typer.Option(
        False,
        "--help-all",
        is_eager=True,
        callback=show_all,
        help="Show all options and exit.",
        rich_help_panel=GENERAL,
    ),
    annotation=bool,
)


@functools.cache
def _flags() -> Mapping[str, inspect.Parameter]:
    """The flag of each setting, by its key; made once for all commands."""
    return {setting.key: _flag_of(setting) for setting in all_settings() if setting.is_flag}


def _flag_of(setting: Setting) -> inspect.Parameter:
    is_flag = setting.field.annotation is bool
    names = [f"{setting.flag}/--no-{setting.key}" if is_flag else setting.flag, setting.extra("short")]
    option = typer.Option(
        None,
        *(name for name in names if name),
        # Values stay text here: the settings validate them, whatever their source.
        metavar=None if is_flag else setting.extra("metavar"),
        help=setting.help + ("" if is_flag or not setting.default else f" (default: {setting.default})"),
        rich_help_panel=section_title(setting.section),
        show_default=False,
        autocompletion=_words_of(setting),
    )
    return inspect.Parameter(
        setting.key.replace("-", "_"),
        inspect.Parameter.KEYWORD_ONLY,
        default=option,
        annotation=_kind_of(setting),
    )


def _words_of(setting: Setting) -> Callable[[], list[str]] | None:
    """What completion offers as values; None for names of files."""
    words = setting.words
    return (lambda: words) if words else None


def _kind_of(setting: Setting) -> Any:
    if setting.field.annotation is bool:
        return bool | None
    return list[str] | None if setting.is_list else str | None
