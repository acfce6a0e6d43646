"""Writes files to start from: settings, and a unit of systemd."""

import sys
from pathlib import Path

from sampoll.app.directories import layout_of
from sampoll.app.systemd_unit import Service, check_user, unit_name, unit_of
from sampoll.config.settings import Settings
from sampoll.config.template import template
from sampoll.core.errors import UsageError, translated_os_errors
from sampoll.core.names import printable
from sampoll.files.atomic import created_file
from sampoll.files.home import user_name


def write_settings_file(path: Path) -> None:
    """Writes every setting, as a comment, into a new file; UsageError if something is there already."""
    _write_new(path, template())


def write_unit(path: Path, settings: Settings, *, config: Path | None, user: str | None) -> None:
    """Writes a unit for a service of this installation on the directories of the settings, as `user`, or as
    this user. UsageError if something is there already, or for a name that is none of a unit or a user."""
    name = unit_name(path)
    layout = layout_of(settings.spool, creates=False)
    files = (config, settings.model.checkpoint)
    service = Service(
        name=name,
        command=_this_command(),
        user=check_user(user or user_name()),
        input=layout.input,
        output=layout.output,
        done=layout.done,
        config=None if config is None else config.absolute(),
        http=settings.monitoring.http,
        reads=(
            Path(sys.prefix),
            Path(sys.base_prefix),
            *(file.absolute() for file in files if file is not None),
        ),
    )
    _write_new(path, unit_of(service))


def _this_command() -> tuple[str, ...]:
    """How to call sampoll of this installation."""
    command = Path(sys.executable).with_name("sampoll")
    return (str(command),) if command.exists() else (sys.executable, "-m", "sampoll")


def _write_new(path: Path, text: str) -> None:
    with translated_os_errors("write", path):
        try:
            with created_file(path) as file:
                file.write(text.encode())
        except FileExistsError as error:
            shown = printable(str(path))
            raise UsageError(f"{shown} is there already: give the name of a new file") from error
