"""The common form of all imported data sets, and helpers to read them."""

import os
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import orjson

from sampoll.core.errors import BadPrompt, InputUnavailable
from sampoll.core.filenames import is_image, split_name
from sampoll.core.jobs import Box, Prompt
from sampoll.files.files import files_below

MAX_PATH_CHARACTERS, MAX_FILE_NAME_BYTES = 4000, 255
"""No longer ones can be opened on Linux."""


@dataclass(frozen=True)
class AnnotatedImage:
    """An image of a data set, with its prompts. `name` is its path in the data set."""

    name: str
    path: Path
    prompts: tuple[Prompt, ...]


Read: TypeAlias = Callable[[Path, Path | None], Iterator[AnnotatedImage | BadPrompt]]
"""Yields the images of a data set, given the path of its annotations and, if different, that of its images.
Yields a BadPrompt in place of an invalid annotation; raises InputUnavailable if nothing can be read."""


def json_of(path: Path) -> Any:
    """The content of a JSON file; InputUnavailable if it cannot be read or is not JSON."""
    try:
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise InputUnavailable(f"{path} cannot be read: {error.strerror or error}") from error
    except orjson.JSONDecodeError as error:
        raise InputUnavailable(f"{path} is not JSON in UTF-8: {error}") from error


def files_of(source: Path, suffix: str) -> Iterator[Path]:
    """`source` itself, or the files of this suffix in it and its folders, by name."""
    if not source.exists():
        raise InputUnavailable(f"no file or folder {source}")
    if source.is_file():
        found = [source]
    else:
        found = sorted(path for path in files_below(source) if path.name.endswith(suffix))
    yield from (path for path in found if not path.name.startswith("."))


def documents_of(source: Path, kind: str, key: str) -> Iterator[tuple[Path, Mapping[str, Any]] | BadPrompt]:
    """The JSON files of a source, with their content: an object with a list under `key`. Yields a BadPrompt
    in place of a file that is broken or has no such list."""
    for path in files_of(source, ".json"):
        try:
            document = json_of(path)
        except InputUnavailable as error:
            yield BadPrompt(str(error))
            continue
        if isinstance(document, dict) and isinstance(document.get(key), list):
            yield path, document
        else:
            yield BadPrompt(f'is no {kind} file: it has no list of "{key}"', file=str(path))


def image_name(name: str) -> str:
    """The name of an image in a data set, if it is a path below the folder of the images; otherwise
    ValueError: a data set must not fetch other files of this machine."""
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a path below the folder of the images")
    is_too_long = len(name) > MAX_PATH_CHARACTERS or any(
        len(os.fsencode(part)) > MAX_FILE_NAME_BYTES for part in path.parts
    )
    if is_too_long or "\0" in name:
        raise ValueError("must be a path that a file can have: it is too long, or has a NUL")
    return str(path)


def image_beside(path: Path) -> Path | None:
    """The image in the folder of `path` that has the same stem; None if there is not exactly one."""
    found = images_in(path.parent).get(split_name(path.name)[0], ())
    return found[0] if len(found) == 1 else None


@lru_cache(16)
def images_in(directory: Path) -> Mapping[str, Sequence[Path]]:
    """The images of a directory by stem; cached, so that it is scanned only once."""
    by_stem: dict[str, list[Path]] = {}
    for path in directory.glob("*") if directory.is_dir() else ():
        if is_image(path.name) and path.is_file():
            by_stem.setdefault(split_name(path.name)[0], []).append(path)
    return by_stem


def box_prompt(x0: Any, y0: Any, x1: Any, y1: Any, label: str, id: str | None = None) -> Prompt:
    """A prompt with a box; ValueError if the corners are not those of a valid box."""
    corners = [number(corner) for corner in (x0, y0, x1, y1)]
    return Prompt(box=Box(*corners), **named(label, id))


def number(value: Any) -> float:
    """`value` as a float; ValueError if it is not a number."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        return float(value)
    except ValueError as error:
        raise ValueError(f"must be a number, got {reprlib.repr(value)}") from error


def text(value: Any) -> str:
    """A name or number of a JSON document as text, "" for null. Lists and objects stay JSON; ValueError for
    those that nest too deeply to be written, which Python cannot show either."""
    if not isinstance(value, list | dict):
        return "" if value is None else str(value)
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise ValueError("is too deeply nested") from error


def named(label: str, id: str | None) -> Mapping[str, Any]:
    return {**({"label": label} if label else {}), "id": id}
