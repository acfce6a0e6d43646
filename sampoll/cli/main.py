"""The command line: parse -> settings -> app -> exit code."""

import os
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sampoll.cli import annotate, batch, client, failed, init, models, prompts, serve
from sampoll.cli.commands import Commands, Group
from sampoll.cli.exit import run_and_exit
from sampoll.cli.logs import set_up_logging, show_summary, shows_progress
from sampoll.cli.options import (
    ConfigOption,
    FromArgument,
    ImagesArgument,
    OutputArgument,
    PrintConfigOption,
    ToArgument,
    directory_of,
    presentable_refusals,
    resolve_or_print,
    with_directories,
    with_settings,
)
from sampoll.cli.output import show, show_aside, show_json
from sampoll.config.fields import section_title
from sampoll.config.resolve import resolve
from sampoll.core.errors import UsageError
from sampoll.core.wording import counted


class _Sampoll(Group):
    """The command and all below it; arguments that it refuses are shown as any other text."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        with presentable_refusals():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with presentable_refusals():
            return super().invoke(ctx)


app = Commands(
    name="sampoll",
    cls=_Sampoll,
    help="""Images and prompts in, Segment Anything masks and OPEX out.

    Examples:

        sampoll demo demo                             a few example pairs in demo/in
        sampoll run demo/in demo/out --model grabcut  their masks, in demo/out
    """,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
)


app.add_typer(init.app)
app.add_typer(batch.app)
app.add_typer(annotate.app)
app.add_typer(failed.app)
app.add_typer(models.app)
app.add_typer(prompts.app)
app.add_typer(serve.app)
app.add_typer(client.app)


def main() -> NoReturn:
    """The `sampoll` command."""
    run_and_exit(_run_app, "sampoll")


def _run_app() -> int:
    app()
    return 0


def _version(wanted: bool) -> None:
    if wanted:
        from sampoll.cli.versions import versions

        for line in versions():
            show(line)
        raise typer.Exit


@app.callback()
def _common(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            callback=_version,
            is_eager=True,
            help="Print the versions of sampoll and of the libraries that it computes with.",
        ),
    ] = False,
) -> None:
    pass


@app.command()
@with_settings(
    "spool", "model", "masks", "outputs", "limits", "prompts", "monitoring", "operations", "processes"
)
def run(
    flags: dict[str, Any],
    source: FromArgument = None,
    target: ToArgument = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Process pairs again that were done before: no --skip-done, and --on-exist replace.",
            rich_help_panel=section_title("spool"),
        ),
    ] = False,
    dry: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List what a run would do with the pairs that are there now; change nothing.",
            rich_help_panel=section_title("spool"),
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="With --dry-run: one JSON document.", rich_help_panel=section_title("spool")
        ),
    ] = False,
    config: ConfigOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """Process the pairs of images and prompts in a directory: once, or --continuous.

    Examples:

        sampoll run in out --model grabcut          without weights, to try it out
        sampoll run in out --pull                   with SAM, whose weights it loads
        sampoll run in out --format coco --overlay  a data set, and pictures of it
        sampoll run in out --dry-run                what would be done
        sampoll run in out --continuous             until Ctrl-C
    """
    if as_json and not dry:
        raise UsageError("--json is for --dry-run; a run has --log-format json and --report FILE")
    flags = with_directories(flags, source, target)
    if force:
        flags = {**flags, "skip-done": False, "on-exist": "replace"}
    resolved = resolve_or_print(flags, config, print_config=print_config)
    settings = resolved.settings
    show_progress = shows_progress(settings.operations) and not settings.spool.continuous
    set_up_logging(resolved, show_progress=show_progress)

    from sampoll.app.directories import layout_of
    from sampoll.cli.run_end import show_run_end
    from sampoll.monitoring.console import log_jobs

    if settings.processes.is_divided and not dry:
        from sampoll.app.workers.run import run_in_workers

        layout = layout_of(settings.spool)
        outcome = run_in_workers(settings, layout, [log_jobs], show_progress=show_progress)
        show_run_end(outcome, layout)
        raise typer.Exit(outcome.exit_code)

    from sampoll.app.plan import plan_of
    from sampoll.app.run import run_plan

    if dry:
        from sampoll.app.dry_run import DryRun

        dry_run = DryRun(plan_of(settings, layout_of(settings.spool, creates=False)))
        if as_json:
            show_json(dry_run.document())
        else:
            for line in dry_run.lines():
                show(line)
        raise typer.Exit(dry_run.exit_code)
    plan = plan_of(settings, layout_of(settings.spool))
    outcome = run_plan(plan, [log_jobs], show_progress=show_progress)
    show_run_end(outcome, plan.layout)
    raise typer.Exit(outcome.exit_code)


@app.command()
@with_settings("model", "limits", "operations")
def embed(
    flags: dict[str, Any],
    images: ImagesArgument,
    config: ConfigOption = None,
) -> None:
    """Fill --embedding-cache ahead, so that later prompts for these images need no encoder.

    Examples:

        sampoll embed photographs --embedding-cache cache
        sampoll run in out --embedding-cache cache
    """
    resolved = resolve(flags, os.environ, config)
    show_progress = shows_progress(resolved.settings.operations)
    set_up_logging(resolved, show_progress=show_progress)

    from sampoll.app.embed import embed_images

    exit_code, summary = embed_images(resolved.settings, images, show_progress=show_progress)
    show_summary(summary, exit_code)
    raise typer.Exit(exit_code)


@app.command()
@with_settings("outputs", "simplify", "operations")
def export(
    flags: dict[str, Any],
    output: OutputArgument,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Where the images are now; labelme files will point there.",
            metavar="DIR",
            parser=directory_of,
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write results that are there already in further formats."""
    resolved = resolve(flags, os.environ, config)
    show_progress = shows_progress(resolved.settings.operations)
    set_up_logging(resolved, show_progress=show_progress)

    from sampoll.app.assembly import format_options
    from sampoll.app.export import export_results

    settings = resolved.settings
    options = format_options(settings, output, images)
    names = settings.outputs.names
    exit_code, summary = export_results(output, names, options, show_progress=show_progress)
    show_summary(summary, exit_code)
    raise typer.Exit(exit_code)


@app.command()
@with_settings("input", "max-pixels", "max-image-bytes", "progress", "log-format", "quiet")
def report(
    flags: dict[str, Any],
    output: OutputArgument,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Where the images are now, if they have moved from INPUT/done.",
            metavar="DIR",
            parser=directory_of,
        ),
    ] = None,
    pictures: Annotated[int, typer.Option(help="Draw at most so many pictures.", metavar="N", min=0)] = 5000,
    config: ConfigOption = None,
) -> None:
    """Write OUTPUT/report.html, a page of all results; with --input, of failed pairs too.

    Examples:

        sampoll report out --input in
        sampoll report out --images photographs
    """
    resolved = resolve(flags, os.environ, config)
    show_progress = shows_progress(resolved.settings.operations)
    set_up_logging(resolved, show_progress=show_progress)

    from sampoll.app.report.writing import write_report

    exit_code, summary = write_report(
        output, resolved.settings, images, max_pictures=pictures, show_progress=show_progress
    )
    show_summary(summary, exit_code)
    raise typer.Exit(exit_code)


@app.command()
@with_settings("spool", "model", "masks", "outputs", "limits", "prompts", "redis", "monitoring", "operations")
def doctor(
    flags: dict[str, Any],
    source: FromArgument = None,
    target: ToArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    config: ConfigOption = None,
) -> None:
    """Check whether `sampoll run` with these flags would work here, and say what to change if not.

    Examples:

        sampoll doctor in out --model vit_b

    Redis is checked if a setting names it. Exits with the code that the run would end with.
    """
    from sampoll.app.doctor.examination import examine
    from sampoll.app.doctor.findings import exit_code_of
    from sampoll.monitoring.progress_bar import can_show_progress, progress

    findings = []
    # The settings may be what is wrong, so only the flag counts here.
    show_progress = can_show_progress() and flags.get("progress", True)
    with progress("file", 0, is_shown=show_progress):
        for finding in examine(with_directories(flags, source, target), os.environ, config):
            findings.append(finding)
            if not as_json:
                for line in finding.lines():
                    show(line, marks=len(finding.level.value), style=finding.level.value)
    exit_code = exit_code_of(findings)
    if as_json:
        document = {"exit_code": exit_code, "findings": [finding.document() for finding in findings]}
        show_json(document)
    raise typer.Exit(exit_code)


@app.command()
@with_settings("input", "prompt", "default-prompt", "include", "exclude", "recursive", "ready-suffix")
def status(
    flags: dict[str, Any],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show the state of the services on an input, or, without one, of all your services on this machine.

    Exits with 0 if they are healthy, 1 if one should be restarted, 3 if none runs.
    """
    settings = resolve(flags, os.environ, config).settings.spool

    from sampoll.app.status import status_of_input, status_of_machine

    found = status_of_machine() if settings.input is None else status_of_input(settings, settings.input)
    if as_json:
        show_json(found.document())
    else:
        for line in found.lines():
            show(line)
    raise typer.Exit(found.verdict)


@app.command()
def demo(
    directory: Annotated[
        Path, typer.Argument(help="Where to write in/ and truth/.", metavar="DIR", parser=directory_of)
    ],
) -> None:
    """Write a photograph and a few drawn pairs into DIR/in, and the true masks of these into DIR/truth."""
    from sampoll.app.demo import write_demo

    count = write_demo(directory)
    show_aside(f"wrote {counted(count, 'pair')} to {directory / 'in'}, true masks to {directory / 'truth'}")
