"""A settings file to start from, made from the settings themselves."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

from sampoll.config.fields import Setting, all_settings
from sampoll.config.resolve import CONFIG_FILE_NAME, toml_value
from sampoll.config.settings import Settings

SCHEMA_FILE = Path(__file__).with_name("settings.schema.json")
"""What `settings_schema` returns, as a file of this package, where editors find it."""
WIDTH = 100
_PLACEHOLDERS = {"SECONDS": '"10m"', "N": "1", "PIXELS": "1"}
"""Values for settings that have no default, by the word for the value; others are that word in quotes."""


def template() -> str:
    """A TOML file that sets nothing: below each section, its settings as comments, with their defaults."""
    lines = [
        f"#:schema {SCHEMA_FILE.resolve().as_uri()}",
        "# Settings of sampoll. Remove the # before a setting to change it; what is shown is the default,",
        "# or an example where there is none. Variables and options override this file, which",
        f"# `sampoll run --config {CONFIG_FILE_NAME}` uses; --print-config shows what is in force.",
    ]
    section = ""
    for setting in all_settings():
        if setting.section != section:
            section = setting.section
            lines += ["", f"[{section}]", f"# {Settings.model_fields[section].annotation.__doc__}"]
        lines += ["", *_lines_of(setting)]
    return "\n".join(lines) + "\n"


def _lines_of(setting: Setting) -> Iterator[str]:
    metavar = setting.extra("metavar")
    choices = f" ({', '.join(metavar.split('|'))})" if "|" in metavar else ""
    yield from (f"# {line}" for line in wrap(f"{setting.help}{choices}", WIDTH - 2))
    yield f"#{setting.key} = {_value_of(setting)}"


def _value_of(setting: Setting) -> str:
    default, metavar = setting.field.default, setting.extra("metavar")
    if default is None:
        return _PLACEHOLDERS.get(metavar, toml_value(metavar or setting.key.upper()))
    is_plain = isinstance(default, bool | list | tuple | str) or setting.default == str(default)
    return toml_value(default if is_plain else setting.default)
