"""`sampoll models`: what the ways to run a model gain, and what they change."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from sampoll.errors import translated_os_errors
from sampoll.logs import set_up_logging
from sampoll.options import ConfigOption, ImagesArgument, with_settings
from sampoll.resolution import resolve

app = typer.Typer(
    name="models",
    help="Models: what each engine and precision gains, and what it changes.",
    no_args_is_help=True,
)


@app.callback()
def _common() -> None:
    pass


@app.command()
@with_settings("model", "limits")
def compare(
    flags: dict[str, Any],
    images: ImagesArgument,
    config: ConfigOption = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file too.", metavar="FILE")
    ] = None,
) -> None:
    """Compare each engine and precision with segment_anything in fp32, on your weights and images.

    Each image gets nine points and five boxes. Without --engine and --precision, all that the device is good
    at take part.
    """
    resolved = resolve(flags, os.environ, config)
    set_up_logging(resolved, show_progress=False)

    from sampoll.comparison import compare_variants

    comparison = compare_variants(resolved.settings, images)
    typer.echo(comparison.table())
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

    A handful of images that are like those to come is enough. Compare before you trust it: sampoll models
    compare --precision int8.
    """
    resolved = resolve(flags, os.environ, config)
    set_up_logging(resolved, show_progress=False)

    from sampoll.quantization import quantize_encoder

    typer.echo(f"the int8 encoder is in {quantize_encoder(resolved.settings, images)}")
