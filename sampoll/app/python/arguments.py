"""Checks of what a program gives besides images, prompts and settings: each raises UsageError, which names
the argument."""

import os
from collections.abc import Iterable, Mapping, Set
from os import PathLike
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from sampoll.config.settings.outputs import OutputSettings
from sampoll.config.settings.values import listed
from sampoll.core.errors import UsageError
from sampoll.core.filenames import publishable
from sampoll.core.names import base_name, folder_of
from sampoll.core.suggestions import did_you_mean
from sampoll.files.given_path import path_of
from sampoll.inputs.prompt_errors import cut


def checked_name(name: str) -> str:
    """A name for files below a directory, shortened if it is too long for them."""
    if not isinstance(name, str):
        raise UsageError(f"name must be text, and is {type(name).__name__}")
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:
        raise UsageError("name must be text in UTF-8") from error
    parts = PurePosixPath(name).parts
    elsewhere = PureWindowsPath(name)  # on other systems, such names are merely odd
    if not parts or parts[0] == "/" or elsewhere.anchor or ".." in elsewhere.parts or "\0" in name:
        raise UsageError(f"name must be a relative path without .., got {name!r}")
    path = "/".join(parts)
    return f"{folder_of(path)}/{publishable(base_name(path))}".lstrip("/")


def checked_directory(directory: str | PathLike[str]) -> Path:
    """The directory in which a result is saved; it need not be there yet."""
    try:
        return path_of(directory)
    except ValueError as error:
        raise UsageError(f"directory {error}") from error


def outputs_in(formats: Iterable[str] | str, settings: OutputSettings) -> OutputSettings:
    """The settings of outputs with these formats, and no others."""
    given = list(formats) if isinstance(formats, Iterable) and not isinstance(formats, str) else [formats]
    for name in given:
        if not isinstance(name, str):
            raise UsageError(f"formats must be names, such as png, and one is {type(name).__name__}")
    return settings.model_copy(update={"formats": listed(given), "overlay": False})


def checked_items(items: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """The items of `segment_many`, of which none is looked at yet."""
    if isinstance(items, str | bytes | Mapping) or not hasattr(items, "__iter__"):
        raise UsageError(f"items must be an iterable of mappings, as a list, and is {type(items).__name__}")
    return items


def checked_item(item: Any, known: Set[str]) -> dict[str, Any]:
    """The arguments in an item of many, of which `known` are the names."""
    if not isinstance(item, Mapping):
        raise UsageError(f"an item must be a mapping of arguments, and is {type(item).__name__}")
    try:
        arguments = dict(item)
    except Exception as error:  # a mapping of the program may raise anything
        raise UsageError(f"an item cannot be read: {type(error).__name__}: {error}") from error
    for name in arguments:
        if name not in known:
            shown = cut(str(name))
            raise UsageError(f"{shown} is no argument of segment{did_you_mean(shown, known)}")
    if "image" not in arguments:
        raise UsageError("an item must have an image")
    return arguments
