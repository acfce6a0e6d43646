"""Every setting by its names: on the command line, in the environment, in a TOML file."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sampoll.config.plugins import plugins
from sampoll.config.quantities import size_text, time_text
from sampoll.config.settings import SECRETS, NamedPath, Settings

ENVIRONMENT_PREFIX = "SAMPOLL_"
NOT_CHOSEN = ("opex", "overlay")
"""Formats that are not chosen by name: the record is always written, the overlay has a flag of its own."""
_QUANTITIES: Mapping[str, Callable[[Any], str]] = {"SECONDS": time_text, "BYTES": size_text}


@dataclass(frozen=True)
class Setting:
    """One setting, with its names on the command line, in the environment and in the TOML file."""

    section: str
    key: str
    field: FieldInfo

    @property
    def flag(self) -> str:
        return f"--{self.key}"

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + self.key.upper().replace("-", "_")

    def anchored(self, value: Any, directory: Path) -> Any:
        """`value`; if it is a relative path, it is resolved against `directory`."""
        kinds = get_args(self.field.annotation)
        words = {word for kind in kinds for word in get_args(kind)}
        is_path = self.is_path and isinstance(value, str) and value not in words
        return str(directory / value) if is_path and value and not value.startswith("~") else value

    @property
    def is_path(self) -> bool:
        return NamedPath in get_args(self.field.annotation)

    @property
    def is_secret(self) -> bool:
        """Whether the value is hidden, completely or in part."""
        return any(kind in SECRETS for kind in get_args(self.field.annotation))

    @property
    def default(self) -> str:
        """The default value as a user would write it; "" if there is none."""
        default = self.field.default
        if default is None:
            return ""
        if isinstance(default, bool):
            return str(default).lower()
        if write := _QUANTITIES.get(self.extra("metavar")):
            return write(default)
        return ", ".join(default) if self.is_list else str(default)

    @property
    def is_list(self) -> bool:
        return get_origin(self.field.annotation) is tuple

    @property
    def is_flag(self) -> bool:
        """Whether it can be given on the command line."""
        extra = self.field.json_schema_extra
        return isinstance(extra, dict) and bool(extra["is_flag"])

    @property
    def help(self) -> str:
        """The help text, in which {names} is replaced by the names of the installed plug-ins."""
        extra = self.field.json_schema_extra
        assert isinstance(extra, dict)
        groups: Any = extra["named_by"]
        names = [name for group in groups for name in plugins(group) if name not in NOT_CHOSEN]
        return str(self.field.description).replace("{names}", ", ".join(names))

    def extra(self, name: str) -> str:
        extra = self.field.json_schema_extra
        return str(extra[name]) if isinstance(extra, dict) else ""


def all_settings() -> Iterator[Setting]:
    """All settings, in the order of the help."""
    for section_name, section in Settings.model_fields.items():
        model = section.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        for field in model.model_fields.values():
            assert field.alias is not None
            yield Setting(section_name, field.alias, field)
