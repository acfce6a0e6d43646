"""Writes a settings file to start from."""

from pathlib import Path

from sampoll.config.template import template
from sampoll.core.errors import UsageError, translated_os_errors
from sampoll.core.names import printable
from sampoll.files.atomic import created_file


def write_settings_file(path: Path) -> None:
    """Writes every setting, as a comment, into a new file; UsageError if something is there already."""
    shown = printable(str(path))
    with translated_os_errors("write", path):
        try:
            with created_file(path) as file:
                file.write(template().encode())
        except FileExistsError as error:
            raise UsageError(f"{shown} is there already: give the name of a new file") from error
