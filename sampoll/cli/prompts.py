"""`sampoll prompts`: makes prompt files from data sets, and checks prompt files."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from sampoll.cli.commands import Commands
from sampoll.cli.logs import shows_progress
from sampoll.cli.options import ConfigOption, directory_of, with_settings
from sampoll.cli.output import show, show_aside, show_json, tell
from sampoll.config.plugins import IMPORTERS, plugins
from sampoll.config.resolve import resolve
from sampoll.core.errors import JobError
from sampoll.core.wording import counted

app = Commands(
    name="prompts",
    help="Prompt files: make them from data sets, check them, print their schema.",
    no_args_is_help=True,
)


@app.command("import")
@with_settings("limits", "exif", "progress")
def import_command(
    flags: dict[str, Any],
    source: Annotated[Path, typer.Argument(help="The annotations: a file or a folder.", metavar="SOURCE")],
    kind: Annotated[
        str,
        typer.Option(
            "--from",
            help="Format of the annotations.",
            metavar="|".join(plugins(IMPORTERS)),
            autocompletion=lambda: list(plugins(IMPORTERS)),
        ),
    ],
    to: Annotated[
        Path,
        typer.Option(
            "--to", help="Where the pairs go: the input of a run.", metavar="DIR", parser=directory_of
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            help="Where the images are, if not with the annotations.", metavar="DIR", parser=directory_of
        ),
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy images instead of linking them.")] = False,
    words: Annotated[
        bool, typer.Option("--words", help="Make prompts of the labels, as words, instead of the places.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Make pairs of a data set's boxes and points. The data set stays as it is."""
    from sampoll.app.assembly import checking_options
    from sampoll.inputs.importers.registry import load_importer
    from sampoll.inputs.importers.words import in_words
    from sampoll.inputs.importers.write_pairs import write_pairs
    from sampoll.monitoring.progress_bar import progress

    settings = resolve(flags, os.environ, config).settings
    annotated = load_importer(kind)(source, images)
    options = checking_options(settings)
    results = write_pairs(in_words(annotated) if words else annotated, to, options, copies=copy)
    pairs = prompts = passed_over = without_prompts = 0
    has_folders = False
    with progress("image", is_shown=shows_progress(settings.operations)) as bar:
        for result in results:
            if isinstance(result, JobError):
                tell(str(result))
                passed_over += 1
                bar.fail()
                continue
            bar.advance()
            without_prompts += not result.prompts
            if result.prompts:
                pairs += 1
                prompts += result.prompts
                has_folders = has_folders or "/" in result.name
    show_aside(
        f"{counted(pairs, 'pair')} with {counted(prompts, 'prompt')} in {to}, {passed_over} passed over"
        + (f"; {counted(without_prompts, 'image has', 'images have')} no prompt" if without_prompts else "")
        + ("; they are in folders: run with --recursive" if has_folders else "")
    )
    raise typer.Exit(JobError.exit_code if passed_over else 0)


@app.command()
@with_settings("limits", "prompts", "exif")
def check(
    flags: dict[str, Any],
    paths: Annotated[list[Path], typer.Argument(help="Prompt files, and folders of them.", metavar="PATH")],
    config: ConfigOption = None,
) -> None:
    """Check prompt files, and name each error by file and field; nothing is run."""
    from sampoll.app.assembly import checking_options
    from sampoll.inputs.check import check_prompts

    options = checking_options(resolve(flags, os.environ, config).settings)
    fine = bad = alone = skipped = 0
    for result in check_prompts(paths, options):
        if isinstance(result, JobError):
            tell(str(result))
            bad += 1
            continue
        for prompt in result.skipped:
            tell(f"would be skipped: {prompt.message}")
        fine += 1
        alone += result.image is None
        skipped += len(result.skipped)
    parts = [f"{fine} valid, {bad} invalid"]
    parts += [f"{skipped} bad prompts in the valid would be skipped"] if skipped else []
    parts += [f"{alone} of the valid without an image"] if alone else []
    show("; ".join(parts))
    raise typer.Exit(JobError.exit_code if bad else 0)


@app.command()
def schema() -> None:
    """Print the JSON Schema of prompt files."""
    from sampoll.inputs.prompt_schema import prompt_file_schema

    show_json(prompt_file_schema())
