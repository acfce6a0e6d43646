"""`sampoll failed`: pairs that have failed, listed, shown, tried again or deleted."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from sampoll.cli.commands import Commands
from sampoll.cli.options import ConfigOption, time_in, with_settings
from sampoll.cli.output import show, show_aside, show_json, show_table, tell
from sampoll.config.resolve import resolve
from sampoll.core.errors import UsageError
from sampoll.core.failures import FailedJob, FailedJobs, Failure, KeptFile
from sampoll.core.suggestions import did_you_mean
from sampoll.core.wording import counted

app = Commands(
    name="failed",
    help="Pairs that have failed: list them, look at them, try them again, delete them.",
    no_args_is_help=True,
)

SECONDS_PER_DAY = 86_400.0

InputOption: TypeAlias = Annotated[
    Path | None, typer.Option("--input", "-i", help="The input directory of the run.", metavar="DIR")
]
NamesArgument: TypeAlias = Annotated[
    list[str] | None, typer.Argument(help="Names as `sampoll failed list` shows them.", metavar="NAME")
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
    store = _store(flags, input, config)
    jobs = _chosen(store, None, code)
    if as_json:
        show_json([_summary(store, job) for job in jobs])
        return
    show_table(("pair", "failed at", "after", "because of"), map(_row, jobs))
    tell(f"{len(jobs)} failed")


@app.command("show")
@with_settings("redis", "stream")
def show_command(
    flags: dict[str, Any],
    name: Annotated[str, typer.Argument(help="A name as `sampoll failed list` shows it.", metavar="NAME")],
    input: InputOption = None,
    config: ConfigOption = None,
) -> None:
    """Everything about one failed pair: its errors, its files, and whether these were changed since."""
    store = _store(flags, input, config)
    for job in _chosen(store, [name]):
        show(f"{job.name}: failed after {_tries(job)}, {store.place_of(job)}")
        for failure in job.failures:
            show(f"  {failure.local_time}  {_reason(failure)}")
        for file in store.files_of(job):
            show(f"  {file.place}: {_condition(file)}")


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
    """Try pairs again, fixed in failed/ or as they are. Their earlier errors are kept."""
    store = _store(flags, input, config)
    jobs = _chosen(store, _wanted(names, every), code)
    returned = [store.retry(job) for job in jobs]
    for job, done in zip(jobs, returned, strict=True):
        if not done:
            tell(f"{job.name}: another process is moving it: try again after its run")
    show_aside(f"{sum(returned)} to be tried again by {store.retried_by}")


@app.command("purge")
@with_settings("redis", "stream")
def purge_command(
    flags: dict[str, Any],
    names: NamesArgument = None,
    every: AllOption = False,
    code: CodeOption = None,
    older_than: Annotated[
        float | None,
        typer.Option(
            help="Only those that failed longer ago.", metavar="DAYS", parser=time_in(SECONDS_PER_DAY)
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask on a terminal.")] = False,
    input: InputOption = None,
    config: ConfigOption = None,
) -> None:
    """Delete failed pairs, images and prompts included, for good. Asks first on a terminal."""
    store = _store(flags, input, config)
    jobs = _chosen(store, _wanted(names, every), code)
    if older_than is not None:
        latest = time.time() - older_than
        jobs = [job for job in jobs if job.last_failure.at <= latest]
    if jobs and not yes and sys.stdin is not None and sys.stdin.isatty():
        question = f"Delete {counted(len(jobs), 'failed pair')}, with images and prompts?"
        typer.confirm(question, abort=True, err=True)
    freed = sum(store.purge(job) for job in jobs)
    show_aside(f"{len(jobs)} deleted, {counted(freed, 'byte')} freed")


def _store(flags: Mapping[str, Any], input: Path | None, config: Path | None) -> FailedJobs[Any]:
    """The store of failed jobs: the stream, if one was named, otherwise the input directory."""
    given = {**flags, **({} if input is None else {"input": str(input)})}
    resolved = resolve(given, os.environ, config)
    settings = resolved.settings

    from sampoll.app.failed import failed_in_folder, failed_in_stream

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
        raise UsageError("no pairs are named: give their names, or --all")
    return names or None


def _chosen(store: FailedJobs[Any], names: Sequence[str] | None, code: str | None = None) -> list[FailedJob]:
    """The failed pairs of these names, or all, that have this code; UsageError for an unknown name."""
    by_name: dict[str, list[FailedJob]] = {}
    for job in store.jobs():
        by_name.setdefault(job.name, []).append(job)
    for name in names or ():
        if name not in by_name:
            raise UsageError(
                f"no failed pair is called {name}: `sampoll failed list` shows them all"
                f"{did_you_mean(name, by_name)}"
            )
    chosen = by_name if names is None else dict.fromkeys(names)
    return [job for name in chosen for job in by_name[name] if code in (None, job.last_failure.code)]


def _summary(store: FailedJobs[Any], job: FailedJob) -> dict[str, object]:
    last = job.last_failure
    return {
        "name": job.name,
        "code": last.code,
        "message": last.message,
        "at": datetime.fromtimestamp(last.at, UTC).isoformat(timespec="milliseconds"),
        "attempts": job.attempts,
        **store.identity_of(job),
    }


def _row(job: FailedJob) -> tuple[str, str, str, str]:
    last = job.last_failure
    return job.name, last.local_time, _tries(job), _reason(last)


def _reason(failure: Failure) -> str:
    return f"{failure.code}: {failure.message}"


def _tries(job: FailedJob) -> str:
    return counted(job.attempts, "try", "tries")


def _condition(file: KeptFile) -> str:
    since = {None: "", False: ", unchanged since", True: ", changed since"}
    return f"{file.size} bytes{since[file.is_changed]}"
