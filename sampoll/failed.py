"""`sampoll failed`: pairs that have failed, listed, shown, tried again or deleted."""

import json
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from sampoll.errors import InputUnavailable, UsageError, translated_os_errors
from sampoll.naming import printable
from sampoll.options import ConfigOption
from sampoll.resolution import resolve
from sampoll.spool.claims import digest_of
from sampoll.spool.dead_letters import DeadLetter, dead_letters, purge, retry
from sampoll.spool.layout import InputLayout
from sampoll.spool.state import Failure

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
def list_command(
    input: InputOption = None,
    config: ConfigOption = None,
    code: CodeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON array.")] = False,
) -> None:
    """One line for each failed pair: its name, when it failed, the tries it took, and why."""
    letters = _chosen(_layout(input, config), None, code)
    if as_json:
        typer.echo(json.dumps([_summary(letter) for letter in letters], indent=2))
        return
    width = max((len(printable(letter.path)) for letter in letters), default=0)
    for letter in letters:
        name = f"{printable(letter.path):<{width}}"
        last = letter.last_failure
        typer.echo(f"{name}  {_time(last.at)}  {_tries(letter)}  {_reason(last)}")
    typer.echo(f"{len(letters)} failed", err=True)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name as `sampoll failed list` shows it.", metavar="NAME")],
    input: InputOption = None,
    config: ConfigOption = None,
) -> None:
    """All that is known of one failed pair: its errors, its files, and whether those were changed since."""
    [letter] = _chosen(_layout(input, config), [name])
    typer.echo(f"{printable(letter.path)}: failed after {_tries(letter)}, job {letter.state.job_id}")
    for failure in letter.state.failures:
        typer.echo(f"  {_time(failure.at)}  {_reason(failure)}")
    for path, original in zip(letter.files, letter.state.files, strict=True):
        known = letter.last_failure.sha256.get(printable(original))
        with translated_os_errors("look at", path):
            condition = _condition(path, known)
        typer.echo(f"  {printable(os.fspath(path))}: {condition}")


@app.command("retry")
def retry_command(
    names: NamesArgument = None,
    every: AllOption = False,
    code: CodeOption = None,
    input: InputOption = None,
    config: ConfigOption = None,
) -> None:
    """Try pairs again, mended in failed/ or as they are. Their errors so far stay with them."""
    layout = _layout(input, config)
    letters = _chosen(layout, _wanted(names, every), code)
    with translated_os_errors("take pairs back from", layout.failed):
        returned = [retry(layout, letter) for letter in letters]
    for letter, done in zip(letters, returned, strict=True):
        if not done:
            typer.echo(
                f"{printable(letter.path)}: another process moves it just now; look again after its run",
                err=True,
            )
    typer.echo(
        f"{sum(returned)} to be tried again by the run that watches {layout.input}, or by the next one"
    )


@app.command("purge")
def purge_command(
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
    layout = _layout(input, config)
    letters = _chosen(layout, _wanted(names, every), code)
    if older_than is not None:
        latest = time.time() - older_than * SECONDS_A_DAY
        letters = [letter for letter in letters if letter.last_failure.at <= latest]
    with translated_os_errors("delete from", layout.failed):
        freed = sum(map(purge, letters))
    typer.echo(f"{len(letters)} deleted, {freed} bytes freed")


def _layout(given: Path | None, config: Path | None) -> InputLayout:
    settings = resolve({} if given is None else {"input": str(given)}, os.environ, config).settings
    directory = settings.spool.input
    if directory is None:
        raise UsageError("no input directory is set: give --input DIR, or set SAMPOLL_INPUT")
    if not directory.is_dir():
        raise InputUnavailable(f"no input directory {directory}: correct --input")
    return InputLayout(directory.resolve())


def _wanted(names: Sequence[str] | None, every: bool) -> Sequence[str] | None:
    """The names that were given; None for all."""
    if bool(names) == every:
        raise UsageError("which pairs? give their names, or --all")
    return names or None


def _chosen(layout: InputLayout, names: Sequence[str] | None, code: str | None = None) -> list[DeadLetter]:
    """The failed pairs of these names, or all, with this code; UsageError for a name that is none."""
    letters = {printable(letter.path): letter for letter in dead_letters(layout)}
    for name in names or ():
        if name not in letters:
            raise UsageError(
                f"no failed pair is called {printable(name)}: `sampoll failed list` shows them all"
            )
    chosen = letters.values() if names is None else [letters[name] for name in dict.fromkeys(names)]
    return [letter for letter in chosen if code in (None, letter.last_failure.code)]


def _summary(letter: DeadLetter) -> dict[str, object]:
    last = letter.last_failure
    return {
        "name": printable(letter.path),
        "code": last.code,
        "message": last.message,
        "at": datetime.fromtimestamp(last.at, UTC).isoformat(timespec="milliseconds"),
        "attempts": letter.state.attempts,
        "job_id": letter.state.job_id,
        "files": [printable(os.fspath(path)) for path in letter.files],
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def _reason(failure: Failure) -> str:
    return printable(f"{failure.code}: {failure.message}")


def _tries(letter: DeadLetter) -> str:
    attempts = letter.state.attempts
    return f"{attempts} {'try' if attempts == 1 else 'tries'}"


def _condition(path: Path, known: str | None) -> str:
    size = f"{path.lstat().st_size} bytes"
    if known is None:
        return size
    return f"{size}, {'unchanged' if digest_of(path) == known else 'changed'} since"
