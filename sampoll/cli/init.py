"""`sampoll init`: a settings file to start from."""

from pathlib import Path
from typing import Annotated

import typer

from sampoll.cli.commands import Commands
from sampoll.cli.options import path_of
from sampoll.cli.output import show_aside, show_json
from sampoll.config.resolve import CONFIG_FILE_NAME, default_config_files

app = Commands()


@app.command()
def init(
    path: Annotated[
        Path | None,
        typer.Argument(
            help=f"The file to write: {CONFIG_FILE_NAME}, if not given.", metavar="FILE", parser=path_of
        ),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of settings files; write nothing.")
    ] = False,
) -> None:
    """Write a settings file with every setting as a comment. A file that is there already is left as it is.

    Examples:

        sampoll init
        sampoll run in out --config sampoll.toml
        sampoll init ~/.config/sampoll/sampoll.toml  where it is found without --config
    """
    if schema:
        from sampoll.config.schema import settings_schema

        show_json(settings_schema())
        return

    from sampoll.app.init import write_settings_file

    path = path or Path(CONFIG_FILE_NAME)
    write_settings_file(path)
    places = " or ".join(str(place) for place in default_config_files())
    show_aside(f"wrote {path}: give it as --config {path}; as {places}, it is found without that")
