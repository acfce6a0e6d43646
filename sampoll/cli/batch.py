"""`sampoll batch`: images of a tree that is only read, once."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sampoll.cli.commands import Commands
from sampoll.cli.logs import set_up_logging, shows_progress
from sampoll.cli.options import ConfigOption, PrintConfigOption, resolve_or_print, with_settings
from sampoll.config.fields import section_title

if TYPE_CHECKING:
    from sampoll.app.batch import BatchOutcome

app = Commands()


@app.command()
@with_settings(
    "batch",
    *("prompt", "default-prompt", "include", "exclude", "limit", "max-attempts", "durability"),
    *("model", "masks", "outputs", "limits", "prompts", "monitoring", "operations"),
)
def batch(
    flags: dict[str, Any],
    source: Annotated[
        str,
        typer.Argument(
            help="Images: a directory, an s3://, gs:// or az:// address, or a table: csv, jsonl, parquet.",
            metavar="SOURCE",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="Directory, or address as of SOURCE, for masks and OPEX.",
            metavar="DEST",
            rich_help_panel=section_title("batch"),
        ),
    ],
    images: Annotated[
        str | None,
        typer.Option(
            help="Where the images of a manifest are, if not beside it.",
            metavar="DIR|ADDRESS",
            rich_help_panel=section_title("batch"),
        ),
    ] = None,
    config: ConfigOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """Process all images of a tree once, and move nothing: what has a result in DEST is done.

    Examples:

        sampoll batch photographs -o masks --model vit_b --default-prompt everything
        sampoll batch s3://bucket/photographs -o s3://bucket/masks --model vit_b
        sampoll batch photographs -o masks --model vit_b --shard 0/4  the first of four parts
        sampoll batch boxes.csv --images photographs -o masks --model vit_b
    """
    resolved = resolve_or_print(flags, config, print_config=print_config)
    settings = resolved.settings
    show_progress = shows_progress(settings.operations)
    set_up_logging(resolved, show_progress=show_progress)

    from sampoll.app.batch import run_batch
    from sampoll.cli.run_end import show_end
    from sampoll.monitoring.console import log_jobs

    outcome = run_batch(settings, source, output, [log_jobs], images=images, show_progress=show_progress)
    show_end(outcome.exit_code, outcome.summary, outcome.first_failures, _next_steps(outcome))
    raise typer.Exit(outcome.exit_code)


def _next_steps(outcome: "BatchOutcome") -> Iterator[str]:
    figures = outcome.summary.figures
    if figures["failed"] or figures["failed_before"]:
        yield f"what failed, and why: {shlex.quote(outcome.failed_at)}; to try it again: --retry-failed"
