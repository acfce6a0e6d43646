"""What every kind of data set comes down to, and what reading one needs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from sampoll.core.errors import BadPrompt, InputUnavailable
from sampoll.core.filenames import is_image, split_name
from sampoll.core.jobs import Box, Prompt
from sampoll.files.files import files_below


@dataclass(frozen=True)
class AnnotatedImage:
    """An image of a data set, and what it has prompts for. `name` is its path in the data set."""

    name: str
    path: Path
    prompts: tuple[Prompt, ...]


Read: TypeAlias = Callable[[Path, Path | None], Iterator[AnnotatedImage | BadPrompt]]
"""The images of a data set, given where its annotations and, if that is elsewhere, its images are. What is
wrong with one annotation is a BadPrompt in its place; InputUnavailable if nothing can be read."""


def json_of(path: Path) -> Any:
    """The content of a JSON file; InputUnavailable if it is none."""
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
    """The JSON files of a source that have a list under `key`, as all of that kind do; a BadPrompt in the
    place of one that is broken or something else."""
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


def image_beside(path: Path) -> Path | None:
    """The image that has the name of `path` but for the extension; None if there is not exactly one."""
    found = images_in(path.parent).get(split_name(path.name)[0], ())
    return found[0] if len(found) == 1 else None


@lru_cache(16)
def images_in(directory: Path) -> Mapping[str, Sequence[Path]]:
    """The images of a directory by their stems, looked through once."""
    by_stem: dict[str, list[Path]] = {}
    for path in directory.glob("*") if directory.is_dir() else ():
        if is_image(path.name):
            by_stem.setdefault(split_name(path.name)[0], []).append(path)
    return by_stem


def box_prompt(x0: Any, y0: Any, x1: Any, y1: Any, label: str, id: str | None = None) -> Prompt:
    """A prompt for a box; ValueError if it is none."""
    corners = [number(corner) for corner in (x0, y0, x1, y1)]
    return Prompt(box=Box(*corners), **named(label, id))


def number(value: Any) -> float:
    """ValueError for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"must be a number, got {value!r}")
    try:
        return float(value)
    except ValueError as error:
        raise ValueError(f"must be a number, got {value!r}") from error


def named(label: str, id: str | None) -> Mapping[str, Any]:
    return {**({"label": label} if label else {}), "id": id}
