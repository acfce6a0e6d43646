"""The common form of all imported data sets, and helpers to read them."""

import codecs
import json
import os
import re
import reprlib
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import orjson

from sampoll.core.errors import BadPrompt, InputUnavailable, JobError
from sampoll.core.filenames import is_image, split_name
from sampoll.core.jobs import Box, Prompt
from sampoll.core.names import base_name
from sampoll.files.files import walk

MAX_PATH_CHARACTERS, MAX_FILE_NAME_BYTES = 4000, 255
"""No longer ones can be opened on Linux."""
MAX_FOLDERS = 100
"""Folders in each other, in the name of an image. Python makes them by recursion."""
MAX_WHOLE_FLOAT = 2.0**53
"""Larger floats may not be the number that was written."""
_DRIVE = re.compile("[A-Za-z]:/")


Size: TypeAlias = tuple[int, int]
"""(H, W) of an image, in pixels."""


@dataclass(frozen=True)
class AnnotatedImage:
    """An image of a data set, with its prompts, which may be none. `name` is its path in the data set.

    `source` is the file of the annotations, and `fields` are the places of the prompts in it, for messages.
    `size` is the image's size according to the data set, if that states it. `content` is an image that the
    data set has in no file; `path` is then only its name.
    """

    name: str
    path: Path
    prompts: tuple[Prompt, ...]
    source: str = ""
    fields: tuple[str, ...] = ()
    size: Size | None = None
    content: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.fields and len(self.fields) != len(self.prompts):
            raise ValueError(f"there are {len(self.prompts)} prompts, and fields for {len(self.fields)}")

    @property
    def placed(self) -> Iterator[tuple[str, Prompt]]:
        """Each prompt after its place in the annotations."""
        fields = self.fields or [f"prompts[{index}]" for index in range(len(self.prompts))]
        return zip(fields, self.prompts, strict=True)


Read: TypeAlias = Callable[[Path, Path | None], Iterator[AnnotatedImage | JobError]]
"""Yields the images of a data set, given the path of its annotations and, if different, that of its images;
and a JobError that names file and field for each thing that is passed over, such as an invalid annotation.
Raises InputUnavailable if nothing can be read."""


def annotated_image(
    name: str, path: Path, placed: Mapping[str, Prompt], source: Path, size: Size | None = None
) -> AnnotatedImage:
    """The image with these prompts, each by its place in the file `source`."""
    return AnnotatedImage(name, path, tuple(placed.values()), str(source), tuple(placed), size)


def text_of(path: Path) -> str:
    """The content of a text file in UTF-8, or in UTF-16 with a byte order mark; InputUnavailable if it cannot
    be read. A byte order mark is no part of the text."""
    try:
        content = path.read_bytes()
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except OSError as error:
        raise InputUnavailable(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputUnavailable(f"{path} is not text in UTF-8: {error}") from error


def json_of(path: Path) -> Any:
    """The content of a JSON file in an encoding of `text_of`, which may have NaN, as Python writes it;
    InputUnavailable if that cannot be read."""
    text = text_of(path)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        with suppress(ValueError, RecursionError):
            return json.loads(text)
        raise InputUnavailable(f"{path} is not JSON: {error}") from error


def files_of(source: Path, suffix: str) -> Iterator[Path | BadPrompt]:
    """`source` itself, or the files of this suffix in it and below, by name, except hidden files and folders.
    Yields a BadPrompt for each folder that is passed over; InputUnavailable if there are no files."""
    if not source.exists():
        raise InputUnavailable(f"no file or folder {source}")
    if source.is_file():
        yield source
        return
    found: list[Path] = []
    problems: list[BadPrompt] = []

    def unreadable(folder: str, error: OSError) -> None:
        problems.append(BadPrompt(f"cannot be read: {error.strerror}", file=str(source / folder)))

    for folder, entries in walk(source, enters=_is_shown, on_error=unreadable):
        for path in (source / folder / entry.name for entry in entries if _is_shown(entry.name)):
            if path.name.lower().endswith(suffix) and path.is_file():
                found.append(path)
            elif path.is_dir() and _has_files(path, suffix):
                problems.append(BadPrompt("is a link to a folder, which is not followed", file=str(path)))
    yield from problems
    if not found and not problems:
        raise InputUnavailable(f"no {suffix} file in {source}")
    yield from sorted(found)


def _is_shown(path: str) -> bool:
    return not base_name(path).startswith(".")


def _has_files(folder: Path, suffix: str) -> bool:
    try:
        return any(path.name.lower().endswith(suffix) for path in folder.iterdir())
    except OSError:
        return False


def documents_of(source: Path, kind: str, key: str) -> Iterator[tuple[Path, Mapping[str, Any]] | BadPrompt]:
    """The JSON files of a source, with their content: an object with a list under `key`. Yields a BadPrompt
    in place of a file that is broken or has no such list."""
    for path in files_of(source, ".json"):
        if isinstance(path, BadPrompt):
            yield path
            continue
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
    r"""The name of an image in a data set, if it is a path below the folder of the images; otherwise
    ValueError: a data set must not fetch other files of this machine. Windows writes paths with \."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.name or path.is_absolute() or ".." in path.parts or _DRIVE.match(str(path)):
        raise ValueError("must be a path below the folder of the images")
    is_too_long = (
        len(name) > MAX_PATH_CHARACTERS
        or len(path.parts) > MAX_FOLDERS
        or any(len(os.fsencode(part)) > MAX_FILE_NAME_BYTES for part in path.parts)
    )
    if is_too_long or "\0" in name:
        raise ValueError("must be a path that a file can have: it is too long, or has a NUL")
    return str(path)


def images_beside(path: Path) -> Sequence[Path]:
    """The images in the folder of `path` that have the same stem."""
    return images_in(path.parent).get(split_name(path.name)[0], ())


def image_beside(path: Path, *, but_not: Collection[Path] = ()) -> Path:
    """The image in the folder of `path` that has the same stem; ValueError if there is not exactly one."""
    found = [image for image in images_beside(path) if image not in but_not]
    if not found:
        raise ValueError(f"has no image {split_name(path.name)[0]} in {path.parent}")
    if len(found) > 1:
        raise ValueError(f"has {len(found)} images: {', '.join(sorted(image.name for image in found))}")
    return found[0]


def in_its_unicode_form(path: Path) -> Path:
    """The path of the image of this name, whose accents may be characters of their own, as macOS writes names
    of files; `path` itself if there is none."""
    with suppress(OSError):
        if not path.name.isascii() and not path.is_file():
            wanted = unicodedata.normalize("NFC", path.name)
            images = chain.from_iterable(images_in(path.parent).values())
            return next((i for i in images if unicodedata.normalize("NFC", i.name) == wanted), path)
    return path


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
    except (ValueError, OverflowError) as error:
        raise ValueError(f"must be a number, got {reprlib.repr(value)}") from error


def whole_number(value: Any) -> int:
    """`value` as an integer; ValueError if it is none."""
    found = number(value)
    if not found.is_integer():
        raise ValueError(f"must be a whole number, got {reprlib.repr(value)}")
    return int(found)


def stated_size(height: Any, width: Any) -> Size | None:
    """The size of an image according to a data set; None if it is left out or, as some write it then, 0.
    ValueError for what is no number of pixels."""
    size = whole_number(height or 0), whole_number(width or 0)
    return size if min(size) > 0 else None


def text(value: Any) -> str:
    """A name or number of a JSON document as text, "" for null; 1.0 is 1, as some writers write every number.
    Lists and objects stay JSON; ValueError for those that nest too deeply to be written, which Python cannot
    show either."""
    if isinstance(value, float) and value.is_integer() and abs(value) < MAX_WHOLE_FLOAT:
        return str(int(value))
    if not isinstance(value, list | dict):
        return "" if value is None else str(value)
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise ValueError("is too deeply nested") from error


def named(label: str, id: str | None) -> Mapping[str, Any]:
    return {**({"label": label} if label else {}), "id": id}
