"""Resolves the settings in force, and the source of each value: flags override SAMPOLL_* variables, which
override a TOML file, which overrides defaults."""

import logging
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import platformdirs
from pydantic import SecretStr, ValidationError

from sampoll.config.fields import ENVIRONMENT_PREFIX, Setting, all_settings
from sampoll.config.settings import Settings
from sampoll.config.settings.values import FileInTheWay, SecretAddress
from sampoll.core.errors import (
    ConfigurationError,
    InputUnavailable,
    OutputUnavailable,
    SampollError,
    UsageError,
)
from sampoll.core.names import printable
from sampoll.core.suggestions import did_you_mean
from sampoll.files.home import expanded, user_config_directory

log = logging.getLogger(__name__)

CONFIG_VARIABLE = "SAMPOLL_CONFIG"
CONFIG_FILE_NAME = "sampoll.toml"


@dataclass(frozen=True)
class Resolved:
    """Settings in force, and for each key where its value came from."""

    settings: Settings
    origins: Mapping[str, str]


@dataclass(frozen=True)
class _Given:
    value: Any
    origin: str
    refusal: type[UsageError] | type[ConfigurationError] = ConfigurationError


def default_config_files() -> Sequence[Path]:
    """Where a TOML file is searched if none is given: in the user's directory, then in the system's."""
    directories = (user_config_directory(), platformdirs.site_config_path("sampoll"))
    return [directory / CONFIG_FILE_NAME for directory in directories if directory is not None]


def resolve(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    config: Path | None = None,
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> Resolved:
    """The settings in force. `flags` maps keys to the values given on the command line, `defaults` to this
    command's own default values.

    UsageError for a bad flag, ConfigurationError for a bad variable, TOML key or value; InputUnavailable or
    OutputUnavailable for a file in the place of a directory. Each names the place and what to change.
    """
    given = {key: _Given(value, "default of this command") for key, value in defaults.items()}
    toml = config or config_file(environment)
    if toml is not None:
        given.update(_from_toml(toml))
    given.update(_from_environment(environment))
    given.update({key: _Given(value, f"--{key}", UsageError) for key, value in flags.items()})

    sections: dict[str, dict[str, Any]] = {}
    for setting in all_settings():
        if setting.key in given:
            _check_encoding(setting, given[setting.key])
            sections.setdefault(setting.section, {})[setting.key] = given[setting.key].value
    try:
        settings = Settings.model_validate(sections)
    except ValidationError as error:
        raise _refusal(error, given) from error
    return Resolved(settings, MappingProxyType({key: value.origin for key, value in given.items()}))


def _check_encoding(setting: Setting, given: _Given) -> None:
    """Paths may be any bytes, other settings are text."""
    try:
        if isinstance(given.value, str) and not setting.is_path:
            given.value.encode()
    except UnicodeEncodeError as error:
        raise given.refusal(f"{given.origin}: must be text in UTF-8") from error


def describe(resolved: Resolved) -> str:
    """All settings in force as a TOML file, with the origin of each value in a comment."""
    lines = []
    for section_name in Settings.model_fields:
        lines.append(f"[{section_name}]")
        values = getattr(resolved.settings, section_name).model_dump(by_alias=True)
        for key, value in values.items():
            if isinstance(value, Path | SecretStr | SecretAddress):
                value = str(value.absolute()) if isinstance(value, Path) else str(value)  # hides secrets
            assignment = f"{key} = {toml_value(value)}" if value is not None else f"# {key} is not set"
            lines.append(f"{assignment:<40}  # {printable(resolved.origins.get(key, 'default'))}")
        lines.append("")
    return "\n".join(lines)


def toml_value(value: bool | float | str | Sequence[str]) -> str:
    """A value as TOML, in printable characters."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{"".join(map(_toml_character, value))}"'
    if isinstance(value, Sequence):
        return f"[{', '.join(map(toml_value, value))}]"
    return str(value)


def _toml_character(character: str) -> str:
    if character.isprintable():
        return f"\\{character}" if character in '"\\' else character
    if "\ud800" <= character <= "\udfff":  # a byte of a path that is not UTF-8: TOML has no notation for it
        return f"\\{printable(character)}"
    return f"\\U{ord(character):08x}"


def config_file(environment: Mapping[str, str]) -> Path | None:
    """The settings file that is found without --config; None if there is none."""
    if named := environment.get(CONFIG_VARIABLE):
        try:
            return Path(expanded(named))
        except ValueError as error:
            raise ConfigurationError(f"{CONFIG_VARIABLE}: {error}") from error
    for path in default_config_files():
        with suppress(PermissionError):  # a directory that we may not read counts as empty
            if path.is_file():
                return path
    return None


def _from_toml(path: Path) -> dict[str, _Given]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    by_section: dict[str, dict[str, Setting]] = {name: {} for name in Settings.model_fields}
    for setting in all_settings():
        by_section[setting.section][setting.key] = setting
    given = {}
    for section, values in document.items():
        if not isinstance(values, dict):
            raise ConfigurationError(_unknown_key(path, None, section, by_section))
        if section not in by_section:
            raise ConfigurationError(_unknown(path, f"[{section}]", section, by_section))
        for key, value in values.items():
            if key not in by_section[section]:
                raise ConfigurationError(_unknown_key(path, section, key, by_section))
            anchored = by_section[section][key].anchored(value, path.absolute().parent)
            given[key] = _Given(anchored, f"{path}: [{section}] {key}")
    return given


def _unknown_key(
    path: Path, section: str | None, key: str, by_section: Mapping[str, Mapping[str, Setting]]
) -> str:
    """The message for a key that is not known in `section`, or at the top level if `section` is None."""
    here = f"[{section}]" if section else "the top level"
    for other, settings in by_section.items():
        if key in settings:
            return f"{path}: {key} belongs in [{other}], not in {here}"
    if key in by_section:
        return f"{path}: {key} is a section: write [{key}] and its settings below it"
    return _unknown(path, f"{here} {key}", key, [s.key for s in all_settings()])


def _unknown(path: Path, place: str, name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    return f"{path}: {place} is not known{did_you_mean(name, known)}"


def unknown_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that begin with SAMPOLL_ but are not settings, each with a hint at a similar one."""
    known = [CONFIG_VARIABLE, *(setting.variable for setting in all_settings())]
    return {
        name: did_you_mean(name, known, prefix=ENVIRONMENT_PREFIX)
        for name in environment
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known
    }


def _from_environment(environment: Mapping[str, str]) -> dict[str, _Given]:
    for variable, hint in unknown_variables(environment).items():
        log.warning("%s is no setting of sampoll and is ignored%s", variable, hint)
    given = {}
    for setting in all_settings():
        for name in reversed(setting.variables):
            if value := environment.get(name):
                given[setting.key] = _Given(value, name)
    return given


def _refusal(error: ValidationError, given: Mapping[str, _Given]) -> SampollError:
    first, *others = error.errors(include_url=False)
    # Of the alternatives of a setting, a check of ours says more than "should be one of these words".
    same = [first, *(other for other in others if other["loc"][:2] == first["loc"][:2])]
    first = next((each for each in same if each["type"] == "value_error"), first)
    [setting] = [setting for setting in all_settings() if setting.key == first["loc"][1]]
    at_fault = given[setting.key]
    reason = first["msg"].removeprefix("Value error, ")
    # An @ may belong to an address with a login that was given for another setting.
    is_shown = not setting.is_secret and "@" not in str(at_fault.value)
    got = f", got {at_fault.value!r}" if is_shown else ""
    is_word = first["type"] == "literal_error" and is_shown
    hint = did_you_mean(str(at_fault.value), setting.words) if is_word else ""
    is_file = isinstance(first.get("ctx", {}).get("error"), FileInTheWay)
    refusal = _UNAVAILABLE.get(setting.key, at_fault.refusal) if is_file else at_fault.refusal
    return refusal(f"{at_fault.origin}: {reason}{got}{hint}")


_UNAVAILABLE: Mapping[str, type[SampollError]] = {
    "input": InputUnavailable,
    "output": OutputUnavailable,
    "done": OutputUnavailable,
}
"""The errors of directories that are files; they have the exit codes of directories that are missing."""
