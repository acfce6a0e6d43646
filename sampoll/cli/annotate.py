"""`sampoll annotate`: a page on which people mark objects in images."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sampoll.cli.commands import Commands
from sampoll.cli.logs import set_up_logging, show_summary
from sampoll.cli.options import ConfigOption, PrintConfigOption, path_of, resolve_or_print, with_settings
from sampoll.cli.output import show
from sampoll.config.fields import section_title
from sampoll.core.names import printable

ANY_PORT = "127.0.0.1:0"

app = Commands()


@app.command()
@with_settings(
    "output",
    "recursive",
    "allowed-hosts",
    *("model", "masks", "outputs", "limits", "operations"),
)
def annotate(
    flags: dict[str, Any],
    directory: Annotated[
        Path,
        typer.Argument(help="The images, and the prompt files beside them.", metavar="DIR", parser=path_of),
    ],
    bind: Annotated[
        str,
        typer.Option(
            help="Address to listen on; a free port of this machine, if none is named.",
            metavar="HOST:PORT",
            show_default=False,
            rich_help_panel=section_title("web"),
        ),
    ] = ANY_PORT,
    browser: Annotated[
        bool,
        typer.Option(
            "--browser/--no-browser",
            help="Open the page in the browser of this machine.",
            show_default=False,
            rich_help_panel=section_title("web"),
        ),
    ] = True,
    config: ConfigOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """Mark objects in the images of a folder on a page, with masks at each click, until a signal arrives.

    Examples:

        sampoll annotate photographs --model grabcut  without weights, to try it out
        sampoll annotate photographs --model vit_b
        sampoll annotate photographs --model vit_b -o masks --format png --format coco
        sampoll annotate photographs --bind 127.0.0.1:8000 --no-browser  through a tunnel of SSH

    Prompt files are written beside the images, where `sampoll run` finds them. The address that is shown has
    a token: keep it to yourself.
    """
    resolved = resolve_or_print({**flags, "bind": bind}, config, print_config=print_config)
    set_up_logging(resolved, show_progress=False)

    from sampoll.app.annotate.serving import annotate as serve_page

    summary = serve_page(
        resolved.settings,
        directory,
        opens_browser=browser,
        show_address=lambda address: show(printable(address)),
    )
    show_summary(summary)
