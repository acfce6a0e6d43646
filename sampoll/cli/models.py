"""`sampoll models`: weights, and the speed and accuracy of each engine and precision."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from sampoll.cli.commands import Commands
from sampoll.cli.logs import set_up_logging, shows_progress
from sampoll.cli.options import ConfigOption, ImagesArgument, path_of, with_settings
from sampoll.cli.output import show, show_aside, show_json, show_path, show_table
from sampoll.config.resolve import resolve
from sampoll.core.errors import ModelUnavailable, translated_os_errors
from sampoll.files.files import sha256_of
from sampoll.models.checkpoints import (
    FOLDER,
    check_official,
    fetch,
    home_of,
    is_official,
    kept_at,
    official_checkpoint,
    official_checkpoints,
)

app = Commands(
    name="models",
    help="Models: their weights, and what each engine and precision gains and changes.",
    no_args_is_help=True,
)

NameArgument: TypeAlias = Annotated[
    str, typer.Argument(help="A model that `sampoll models list` shows.", metavar="MODEL")
]


@app.callback()
def _common() -> None:
    pass


@app.command("list")
@with_settings("home")
def list_command(
    flags: dict[str, Any],
    config: ConfigOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs, with the URL, size, sha256 and place of each file.")
    ] = False,
) -> None:
    """All models: their family, sizes, prompts and licence, and whether their weights are here."""
    home = resolve(flags, os.environ, config).settings.model.home

    from sampoll.app.model_table import HEADER, listed_models

    models = listed_models(home)
    if as_json:
        show_json([model.document() for model in models])
        return
    show_table(HEADER, [model.row() for model in models])
    show(f"weights are kept in {home_of(home) / FOLDER}")


@app.command()
@with_settings("home", "mirror", "progress", "quiet")
def pull(flags: dict[str, Any], name: NameArgument, config: ConfigOption = None) -> None:
    """Download the official checkpoint of a model, going on where an earlier download ended."""
    resolved = resolve(flags, os.environ, config)
    show_progress = shows_progress(resolved.settings.operations)
    set_up_logging(resolved, show_progress=show_progress)
    settings, checkpoint = resolved.settings.model, official_checkpoint(name)
    path = kept_at(checkpoint, settings.home)
    if path.is_file():
        check_official(path, sha256_of(path), checkpoint)
    else:
        from sampoll.monitoring.progress_bar import progress

        with progress("file", 0, is_shown=show_progress):
            fetch(checkpoint, settings.mirror, path)
    show_path(path)


@app.command()
@with_settings("home")
def verify(
    flags: dict[str, Any],
    names: Annotated[
        list[str] | None, typer.Argument(help="Models; all that are here without any.", metavar="MODEL")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Compare checkpoints with the sha256 of the official ones."""
    home = resolve(flags, os.environ, config).settings.model.home
    known = official_checkpoints()
    chosen = [official_checkpoint(name) for name in names] if names else list(known.values())
    wrong = 0
    for checkpoint in chosen:
        path = kept_at(checkpoint, home)
        if not path.is_file():
            if names:
                raise ModelUnavailable(f"{path} is not there: run `sampoll models pull {checkpoint.model}`")
            continue
        is_right = is_official(path, checkpoint)
        wrong += not is_right
        show(f"{path}: {'as published' if is_right else 'NOT as published: delete it, and pull again'}")
    raise typer.Exit(ModelUnavailable.exit_code if wrong else 0)


@app.command()
@with_settings("home")
def path(flags: dict[str, Any], name: NameArgument, config: ConfigOption = None) -> None:
    """Print where the official checkpoint of a model is; 69 if it is not here."""
    checkpoint = official_checkpoint(name)
    found = kept_at(checkpoint, resolve(flags, os.environ, config).settings.model.home)
    if not found.is_file():
        raise ModelUnavailable(f"{found} is not there: run `sampoll models pull {name}`")
    show_path(found)


@app.command()
@with_settings("model", "limits")
def compare(
    flags: dict[str, Any],
    images: ImagesArgument,
    config: ConfigOption = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the figures to this file too.", metavar="FILE", parser=path_of),
    ] = None,
) -> None:
    """Compare each engine and precision with segment_anything in fp32, on your weights and images.

    Each image gets nine points and five boxes. Without --engine and --precision, all that suit the
    device are compared.
    """
    resolved = resolve(flags, os.environ, config)
    set_up_logging(resolved, show_progress=False)

    from sampoll.app.compare import HEADER, compare_variants

    comparison = compare_variants(resolved.settings, images)
    if sys.stdout.isatty():
        show_table(HEADER, comparison.rows())
    else:
        for line in comparison.markdown():
            show(line)
    if json_file is not None:
        with translated_os_errors("write", json_file):
            json_file.write_text(json.dumps(comparison.document(), indent=2) + "\n")


@app.command()
@with_settings("model", "limits")
def quantize(
    flags: dict[str, Any],
    images: ImagesArgument,
    config: ConfigOption = None,
) -> None:
    """Make the encoder for --precision int8, calibrated on your images. Experimental, for CPUs.

    A few images similar to those of later runs are enough. Compare before you trust it: sampoll models
    compare --precision int8.
    """
    resolved = resolve(flags, os.environ, config)
    set_up_logging(resolved, show_progress=False)

    from sampoll.app.quantize import quantize_encoder

    show_aside(f"the int8 encoder is in {quantize_encoder(resolved.settings, images)}")
