"""`sampoll init`: a settings file, or a unit of systemd, to start from."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from sampoll.cli.commands import Commands
from sampoll.cli.options import ConfigOption, path_of, with_settings
from sampoll.cli.output import show, show_aside, show_json
from sampoll.config.resolve import CONFIG_FILE_NAME, config_file, default_config_files, resolve
from sampoll.core.errors import UsageError

app = Commands()

UNIT_FILE_NAME = "sampoll.service"


@app.command()
@with_settings("input", "output")
def init(
    flags: dict[str, Any],
    path: Annotated[
        Path | None,
        typer.Argument(
            help=f"The file to write: {CONFIG_FILE_NAME}, or {UNIT_FILE_NAME}, if not given.",
            metavar="FILE",
            parser=path_of,
        ),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of settings files; write nothing.")
    ] = False,
    examples: Annotated[
        bool,
        typer.Option(
            "--examples",
            help="Print where the complete examples are: settings files, units, compose files, a crontab; "
            "write nothing.",
        ),
    ] = False,
    systemd: Annotated[
        bool,
        typer.Option(
            "--systemd",
            help="Write a unit of systemd, for a service of this installation on --input and --output.",
        ),
    ] = False,
    user: Annotated[
        str | None,
        typer.Option(help="With --systemd: the user of the service; you, if not given.", metavar="NAME"),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write a settings file with every setting as a comment, or a unit of systemd. A file that is there
    already is left as it is.

    Examples:

        sampoll init
        sampoll run in out --config sampoll.toml
        sampoll init ~/.config/sampoll/sampoll.toml  where it is found without --config
        sampoll init --systemd -i in -o out          a service on a folder
    """
    if schema:
        from sampoll.config.schema import settings_schema

        show_json(settings_schema())
    elif examples:
        from sampoll.config.examples import examples_directory

        show(str(examples_directory()))
    elif systemd:
        _write_unit(path or Path(UNIT_FILE_NAME), flags, config, user)
    elif flags or config or user:
        raise UsageError("--input, --output, --config and --user are for --systemd")
    else:
        _write_settings_file(path or Path(CONFIG_FILE_NAME))


def _write_settings_file(path: Path) -> None:
    from sampoll.app.init import write_settings_file

    write_settings_file(path)
    places = " or ".join(str(place) for place in default_config_files())
    show_aside(f"wrote {path}: give it as --config {path}; as {places}, it is found without that")


def _write_unit(path: Path, flags: dict[str, Any], config: Path | None, user: str | None) -> None:
    from sampoll.app.init import write_unit

    # The service has other variables than this shell, and its user another settings file.
    config = config or config_file(os.environ)
    write_unit(path, resolve(flags, {}, config).settings, config=config, user=user)
    show_aside(f"wrote {path}: its first lines say how to use it")
