"""The complete examples that come with sampoll: settings files, units, compose files, a crontab."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def examples_directory() -> Path:
    """The directory of the examples: in the installed package, or beside it, in the source tree of an
    editable installation."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.with_name("configs")
