"""Every setting by its names: on the command line, in the environment, in a TOML file."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sampoll.config.plugins import plugins
from sampoll.config.quantities import size_text, time_text
from sampoll.config.settings import Settings
from sampoll.config.settings.values import SECRETS, NamedDirectory, NamedPath

ENVIRONMENT_PREFIX = "SAMPOLL_"
FLAG = r"(?<![\w/-])--([a-z][a-z0-9-]*[a-z0-9])(?![\w-])"
"""A regular expression for a flag in a message; its group is the key of the setting."""
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

    @property
    def variables(self) -> list[str]:
        """The variables that it can be given in; the first that is set counts."""
        shared = self.extra("shared_variable")
        return [self.variable, shared] if shared else [self.variable]

    def anchored(self, value: Any, directory: Path) -> Any:
        """`value`; if it is a relative path, it is resolved against `directory`."""
        kinds = get_args(self.field.annotation)
        words = {word for kind in kinds for word in get_args(kind)}
        is_path = self.is_path and isinstance(value, str) and value not in words
        return str(directory / value) if is_path and value and not value.startswith("~") else value

    @property
    def is_path(self) -> bool:
        return not {NamedPath, NamedDirectory}.isdisjoint(get_args(self.field.annotation))

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
    def words(self) -> list[str]:
        """The words that it can be, with those of the installed plug-ins; other values may be allowed too."""
        known = [word for word in self.extra("metavar").split("|") if not word.isupper()]
        return [word for word in (*known, *self._plugins()) if word.isprintable() and word]

    def _plugins(self) -> list[str]:
        extra = self.field.json_schema_extra
        assert isinstance(extra, dict)
        groups: Any = extra["named_by"]
        return [name for group in groups for name in plugins(group) if name not in NOT_CHOSEN]

    @property
    def is_flag(self) -> bool:
        """Whether it can be given on the command line."""
        extra = self.field.json_schema_extra
        return isinstance(extra, dict) and bool(extra["is_flag"])

    @property
    def is_everyday(self) -> bool:
        """Whether --help shows it, not only --help-all."""
        extra = self.field.json_schema_extra
        return isinstance(extra, dict) and bool(extra["is_everyday"])

    @property
    def help(self) -> str:
        """The help text, in which {names} is replaced by the names of the installed plug-ins."""
        return str(self.field.description).replace("{names}", ", ".join(self._plugins()))

    def extra(self, name: str) -> str:
        extra = self.field.json_schema_extra
        return str(extra[name]) if isinstance(extra, dict) else ""


def section_title(name: str) -> str:
    """The name of a section and what its settings are about: `Masks: what is done to masks and outlines`."""
    meaning = str(Settings.model_fields[name].annotation.__doc__)
    return f"{name.capitalize()}: {meaning[0].lower()}{meaning[1:].removesuffix('.')}"


def all_settings() -> Iterator[Setting]:
    """All settings, in the order of the help."""
    for section_name, section in Settings.model_fields.items():
        model = section.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        for field in model.model_fields.values():
            assert field.alias is not None
            yield Setting(section_name, field.alias, field)
