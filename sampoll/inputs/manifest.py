"""A manifest: a table of images and prompts, with the columns of the importer of CSV, read line by line."""

import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from sampoll.core.errors import BadPrompt, ConfigurationError, InputUnavailable
from sampoll.core.filenames import is_image, split_name
from sampoll.core.names import base_name
from sampoll.inputs.importers.base import Size, text
from sampoll.inputs.importers.csv_table import ImageLines, Line, add_line, columns_of, image_of, lines_of
from sampoll.inputs.importers.write_pairs import prompts_file

PlacedLine: TypeAlias = tuple[str, Line | ValueError]
"""A line after its place, or what is wrong with it."""


@dataclass(frozen=True)
class ListedImage:
    """An image of a manifest: its path, and its prompts as a prompt file, None if it has none; or what is
    wrong with its lines. `place` is that of its first line. `size` is (H, W) if the manifest states it."""

    name: str
    place: str
    prompts: bytes | None = field(default=None, repr=False)
    size: Size | None = None
    error: BadPrompt | None = None


def is_manifest(path: str) -> bool:
    """Whether it has the name of a manifest."""
    return split_name(base_name(path))[1] in _READERS


def listed_images(path: Path, shown: str) -> Iterator[ListedImage]:
    """The images of a manifest, which messages call `shown`; the lines of an image must be together. A line
    without a valid image is an image without a name. InputUnavailable if it cannot be read."""
    try:
        yield from _by_image(_READERS[split_name(path.name)[1]](path), shown)
    except OSError as error:
        raise InputUnavailable(f"{shown} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputUnavailable(f"{shown} is not text in UTF-8: {error}") from error


def _by_image(lines: Iterator[PlacedLine], shown: str) -> Iterator[ListedImage]:
    name, first = "", ""
    group: list[PlacedLine] = []
    for place, line in lines:
        try:
            if isinstance(line, ValueError):
                raise line
            if not any(line.values()):
                continue
            found = image_of(line)
            if not is_image(found):
                raise ValueError("image has no extension of an image")
        except ValueError as error:
            yield ListedImage("", place, error=BadPrompt(str(error), file=shown, field=place))
            continue
        if found != name and group:
            yield _listed(name, first, group, shown)
            group = []
        if not group:
            name, first = found, place
        group.append((place, line))
    if group:
        yield _listed(name, first, group, shown)


def _listed(name: str, place: str, lines: Sequence[PlacedLine], shown: str) -> ListedImage:
    image: dict[str, ImageLines] = {}
    try:
        for at, line in lines:
            assert not isinstance(line, ValueError)
            _add(line, at, image, shown)
        prompts = []
        for _, prompt in image[name].prompts(shown):
            if isinstance(prompt, BadPrompt):
                raise prompt
            prompts.append(prompt)
    except BadPrompt as error:
        return ListedImage(name, place, error=error)
    return ListedImage(name, place, prompts_file(prompts) if prompts else None, image[name].size)


def _add(line: Line, place: str, image: dict[str, ImageLines], shown: str) -> None:
    try:
        add_line(line, place, image)
    except ValueError as error:
        raise BadPrompt(str(error), file=shown, field=place) from error


def _csv_lines(path: Path) -> Iterator[PlacedLine]:
    with path.open("rb") as file:
        is_utf16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    with path.open(encoding="utf-16" if is_utf16 else "utf-8-sig", newline="") as file:
        yield from lines_of(file, path, needs_places=False)


def _jsonl_lines(path: Path) -> Iterator[PlacedLine]:
    named = partial(_named, columns=_columns_of(path))
    with path.open("rb") as file:
        for number, content in enumerate(file, 1):
            place = f"line {number}"
            if not content.strip():
                continue
            try:
                document = orjson.loads(content)
                if not isinstance(document, dict):
                    raise ValueError("must be an object of JSON")
                yield place, named(document)
            except orjson.JSONDecodeError as error:
                yield place, ValueError(f"is not JSON: {error}")
            except ValueError as error:
                yield place, error


def _parquet_lines(path: Path) -> Iterator[PlacedLine]:
    if find_spec("pyarrow") is None:
        raise ConfigurationError(f"{path} needs the package pyarrow: pip install 'sampoll[parquet]'")
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    named = partial(_named, columns=_columns_of(path))
    number = 0
    try:
        with ParquetFile(path) as file:
            columns_of(file.schema_arrow.names, path, needs_places=False)
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", named(row)
    except ArrowException as error:
        raise InputUnavailable(f"{path} cannot be read: {error}") from error


def _columns_of(path: Path) -> Callable[[tuple[str, ...]], Sequence[str]]:
    return lru_cache(64)(partial(columns_of, source=path, needs_places=False))


def _named(row: Mapping[str, Any], columns: Callable[[tuple[str, ...]], Sequence[str]]) -> Line:
    """A row as a line of text, by our names of its columns; ValueError if it has no image."""
    values = (text(value).strip() for value in row.values())
    try:
        names = columns(tuple(row))
    except InputUnavailable as error:
        raise ValueError(f"must name an image, as a line of a table: {error}") from error
    return dict(zip(names, values, strict=True))


_READERS: Mapping[str, Callable[[Path], Iterator[PlacedLine]]] = {
    ".csv": _csv_lines,
    ".tsv": _csv_lines,
    ".jsonl": _jsonl_lines,
    ".ndjson": _jsonl_lines,
    ".parquet": _parquet_lines,
}
