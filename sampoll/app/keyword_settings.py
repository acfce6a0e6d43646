"""Settings that a program gives as arguments of a function."""

from collections.abc import Callable, Mapping
from typing import Any

from sampoll.config.fields import Setting, all_settings
from sampoll.config.resolve import resolve
from sampoll.config.settings import Settings
from sampoll.core.errors import UsageError
from sampoll.core.suggestions import did_you_mean


def keyword_of(setting: Setting) -> str:
    """The name of a setting as an argument."""
    return setting.key.replace("-", "_")


def settings_of(
    arguments: Mapping[str, Any], *, is_used: Callable[[Setting], bool] = lambda setting: True
) -> Settings:
    """The settings of `sampoll run` with these values, by their names with underscores; None is left out, and
    variables and files of settings do not count. UsageError for an unknown name, one that is not used, or a
    bad value."""
    known = {keyword_of(setting): setting for setting in all_settings()}
    given = {}
    for name, value in arguments.items():
        if name not in known:
            raise UsageError(f"{name} is no setting of sampoll{did_you_mean(name, known)}")
        if not is_used(known[name]):
            raise UsageError(f"{name} has no effect here: leave it out")
        if value is not None:
            given[known[name].key] = value
    return resolve(given, {}).settings
