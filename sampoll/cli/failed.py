"""`sampoll failed`: pairs that have failed, listed, shown, tried again or deleted."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from sampoll.app.failed import FailedPair, FailedPairs, failed_in_folder, failed_in_stream, local_time
from sampoll.cli.options import ConfigOption, with_settings
from sampoll.config.resolve import resolve
from sampoll.core.errors import UsageError
from sampoll.core.names import printable

app = typer.Typer(
    name="failed",
    help="Pairs that have failed: list them, look at them, try them again, delete them.",
    no_args_is_help=True,
)

SECONDS_A_DAY = 86_400.0

InputOption: TypeAlias = Annotated[
    Path | None, typer.Option("--input", "-i", help="The input directory of the run.", metavar="DIR")
]
NamesArgument: TypeAlias = Annotated[
    list[str] | None, typer.Argument(help="Names as `sampoll failed list` shows them.", metavar="[NAME]...")
]
AllOption: TypeAlias = Annotated[bool, typer.Option("--all", help="All of them, instead of names.")]
CodeOption: TypeAlias = Annotated[
    str | None, typer.Option(help="Only those that failed with this code.", metavar="CODE")
]


@app.command("list")
@with_settings("redis", "stream")
def list_command(
    flags: dict[str, Any],
    input: InputOption = None,
    config: ConfigOption = None,
    code: CodeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON array.")] = False,
) -> None:
    """One line for each failed pair: its name, when it failed, the tries it took, and why."""
    letters = _chosen(_source(flags, input, config), None, code)
    if as_json:
        typer.echo(json.dumps([_summary(letter) for letter in letters], indent=2))
        return
    width = max((len(letter.name) for letter in letters), default=0)
    for letter in letters:
        typer.echo(f"{letter.name:<{width}}  {local_time(letter.at)}  {_tries(letter)}  {_reason(letter)}")
    typer.echo(f"{len(letters)} failed", err=True)


@app.command()
@with_settings("redis", "stream")
def show(
    flags: dict[str, Any],
    name: Annotated[str, typer.Argument(help="A name as `sampoll failed list` shows it.", metavar="NAME")],
    input: InputOption = None,
    config: ConfigOption = None,
) -> None:
    """All that is known of one failed pair: its errors, its files, and whether those were changed since."""
    for letter in _chosen(_source(flags, input, config), [name]):
        typer.echo(f"{letter.name}: failed after {_tries(letter)}, {letter.job}")
        for line in letter.details():
            typer.echo(f"  {line}")


@app.command("retry")
@with_settings("redis", "stream")
def retry_command(
    flags: dict[str, Any],
    names: NamesArgument = None,
    every: AllOption = False,
    code: CodeOption = None,
    input: InputOption = None,
    config: ConfigOption = None,
) -> None:
    """Try pairs again, mended in failed/ or as they are. Their errors so far stay with them."""
    source = _source(flags, input, config)
    letters = _chosen(source, _wanted(names, every), code)
    returned = [letter.retry() for letter in letters]
    for letter, done in zip(letters, returned, strict=True):
        if not done:
            typer.echo(
                f"{letter.name}: another process moves it just now; look again after its run", err=True
            )
    typer.echo(f"{sum(returned)} to be tried again by {source.by_whom}")


@app.command("purge")
@with_settings("redis", "stream")
def purge_command(
    flags: dict[str, Any],
    names: NamesArgument = None,
    every: AllOption = False,
    code: CodeOption = None,
    older_than: Annotated[
        float | None, typer.Option(help="Only those that failed longer ago.", metavar="DAYS", min=0)
    ] = None,
    input: InputOption = None,
    config: ConfigOption = None,
) -> None:
    """Delete failed pairs, images and prompts included, for good."""
    letters = _chosen(_source(flags, input, config), _wanted(names, every), code)
    if older_than is not None:
        latest = time.time() - older_than * SECONDS_A_DAY
        letters = [letter for letter in letters if letter.at <= latest]
    freed = sum(letter.purge() for letter in letters)
    typer.echo(f"{len(letters)} deleted, {freed} bytes freed")


def _source(flags: Mapping[str, Any], input: Path | None, config: Path | None) -> FailedPairs:
    """Where failed pairs are: in a stream, if one was named, otherwise in the input."""
    given = {**flags, **({} if input is None else {"input": str(input)})}
    resolved = resolve(given, os.environ, config)
    settings = resolved.settings
    if "stream" in flags or ("stream" in resolved.origins and settings.spool.input is None):
        return failed_in_stream(settings)
    if settings.spool.input is None:
        raise UsageError(
            "no input directory is set: give --input DIR, or set SAMPOLL_INPUT; or --stream NAME"
        )
    return failed_in_folder(settings.spool.input)


def _wanted(names: Sequence[str] | None, every: bool) -> Sequence[str] | None:
    """The names that were given; None for all."""
    if bool(names) == every:
        raise UsageError("which pairs? give their names, or --all")
    return names or None


def _chosen(source: FailedPairs, names: Sequence[str] | None, code: str | None = None) -> list[FailedPair]:
    """The failed pairs of these names, or all, with this code; UsageError for a name that is none."""
    by_name: dict[str, list[FailedPair]] = {}
    for letter in source.pairs:
        by_name.setdefault(letter.name, []).append(letter)
    for name in names or ():
        if name not in by_name:
            raise UsageError(
                f"no failed pair is called {printable(name)}: `sampoll failed list` shows them all"
            )
    chosen = by_name if names is None else dict.fromkeys(names)
    return [letter for name in chosen for letter in by_name[name] if code in (None, letter.code)]


def _summary(letter: FailedPair) -> dict[str, object]:
    return {
        "name": letter.name,
        "code": letter.code,
        "message": letter.message,
        "at": datetime.fromtimestamp(letter.at, UTC).isoformat(timespec="milliseconds"),
        "attempts": letter.attempts,
        **letter.more,
    }


def _reason(letter: FailedPair) -> str:
    return printable(f"{letter.code}: {letter.message}")


def _tries(letter: FailedPair) -> str:
    return f"{letter.attempts} {'try' if letter.attempts == 1 else 'tries'}"
