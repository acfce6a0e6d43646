"""The command line: parse -> settings -> app -> exit code."""

import os
import signal
import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sampoll import failed, models
from sampoll.errors import SampollError
from sampoll.logs import set_up_logging
from sampoll.options import ConfigOption, ImagesArgument, with_settings
from sampoll.resolution import describe, resolve

app = typer.Typer(
    name="sampoll",
    help="Images and prompts in, Segment Anything masks and OPEX out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.add_typer(failed.app)
app.add_typer(models.app)


def main() -> NoReturn:
    """The `sampoll` command; every error of ours ends here, as one sentence and its exit code."""
    try:
        app()
    except SampollError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception:  # noqa: BLE001  the top of the process
        traceback.print_exc()
        _say("this is a bug in sampoll; nothing is lost. Please report it with the lines above")
        sys.exit(SampollError.exit_code)
    sys.exit(0)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sampoll {version('sampoll')}")
        raise typer.Exit


@app.callback()
def _common(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
@with_settings("spool", "model", "limits", "operations")
def run(
    flags: dict[str, Any],
    config: ConfigOption = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config", help="Show what is in force and from where.", rich_help_panel="Settings"
        ),
    ] = False,
) -> None:
    """Process the pairs in a directory: once, or --continuous."""
    resolved = resolve(flags, os.environ, config)
    if print_config:
        typer.echo(describe(resolved))
        return
    settings = resolved.settings
    show_progress = sys.stderr.isatty() and not settings.spool.continuous
    set_up_logging(resolved, show_progress=show_progress)

    from sampoll.app import run as run_service

    exit_code, summary = run_service(settings, show_progress=show_progress)
    typer.echo(summary)
    raise typer.Exit(exit_code)


@app.command()
@with_settings("model", "limits", "operations")
def embed(
    flags: dict[str, Any],
    images: ImagesArgument,
    config: ConfigOption = None,
) -> None:
    """Fill --embedding-cache ahead, so that later prompts for these images need no encoder."""
    resolved = resolve(flags, os.environ, config)
    show_progress = sys.stderr.isatty()
    set_up_logging(resolved, show_progress=show_progress)

    from sampoll.embed import embed_images

    exit_code, summary = embed_images(resolved.settings, images, show_progress=show_progress)
    typer.echo(summary)
    raise typer.Exit(exit_code)


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(help="Where to write in/ and truth/.", metavar="DIR")],
) -> None:
    """Write a few example pairs into DIR/in, and their true masks into DIR/truth."""
    from sampoll.demo import write_demo

    count = write_demo(directory)
    typer.echo(f"wrote {count} pairs to {directory / 'in'}, their true masks to {directory / 'truth'}")


def _say(message: str) -> None:
    typer.echo(f"sampoll: {message}", err=True)
