"""CSV: one line for each box or point; the first line names the columns."""

import csv
import io
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from sampoll.core.errors import BadPrompt, InputUnavailable, JobError
from sampoll.core.jobs import Box, Point, Prompt
from sampoll.inputs.importers.base import (
    AnnotatedImage,
    Size,
    annotated_image,
    image_name,
    named,
    number,
    stated_size,
    text_of,
)
from sampoll.inputs.prompt_forms import CORNERS, OTHER_CORNERS

Line: TypeAlias = Mapping[str, str]
"""The values of a line, stripped, by our names of their columns."""
SEPARATORS = ",;\t"
SEPARATOR_LINE = "sep="
"""How the first line may begin in a table for Excel; the separator follows."""
POINT, SIZE = ("x", "y"), ("width", "height")
OTHER_NAMES = {
    "image": ("filename", "file_name", "image_path"),
    "label": ("class", "class_name", "category"),
}
"""Columns as other tools call them, which count where ours are missing."""
NUMBERS = (*CORNERS, *POINT, *SIZE)


@dataclass
class _Object:
    """A prompt to which lines are added."""

    place: str
    label: str
    id: str | None
    box: Box | None = None
    points: list[Point] = field(default_factory=list)

    def add(self, box: Box | None, points: Sequence[Point], label: str) -> None:
        if box and self.box:
            raise ValueError(f"id {self.id} has a second box: a prompt has one")
        if label and self.label and label != self.label:
            raise ValueError(f"id {self.id} has another label, {reprlib.repr(self.label)}, in {self.place}")
        self.label = self.label or label
        self.box = self.box or box
        self.points += points

    def prompt(self) -> Prompt:
        return Prompt(points=tuple(self.points), box=self.box, **named(self.label, self.id))


@dataclass
class ImageLines:
    """What the lines of one image say."""

    objects: dict[tuple[str | None, str], _Object] = field(default_factory=dict)
    size: Size | None = None

    def prompts(self, source: str) -> Iterator[tuple[str, Prompt | BadPrompt]]:
        """The prompts by their places, or why there is none, as an error about `source`."""
        for found in self.objects.values():
            try:
                yield found.place, found.prompt()
            except ValueError as error:
                yield found.place, BadPrompt(str(error), file=source, field=found.place)


def read(source: Path, images: Path | None) -> Iterator[AnnotatedImage | JobError]:
    """Reads a table with a column `image`, and x0, y0, x1, y1 or x, y. Optional columns: `label` of the
    object; `id`: lines of an image with the same one form one prompt; `point`: 1 (default) on the object, 0
    beside it; `width` and `height` of the image. Paths of images are relative to the table's folder, or to
    `images`."""
    by_name: dict[str, ImageLines] = {}
    for place, line in lines_of(io.StringIO(text_of(source), newline=""), source):
        if isinstance(line, ValueError):
            yield BadPrompt(str(line), file=str(source), field=place)
            continue
        try:
            add_line(line, place, by_name)
        except ValueError as error:
            yield BadPrompt(str(error), file=str(source), field=place)
    for name, image in by_name.items():
        prompts = {}
        for place, found in image.prompts(str(source)):
            if isinstance(found, BadPrompt):
                yield found
            else:
                prompts[place] = found
        yield annotated_image(name, (images or source.parent) / name, prompts, source, image.size)


def lines_of(
    file: TextIO, source: Path, *, needs_places: bool = True
) -> Iterator[tuple[str, Line | ValueError]]:
    """The lines of a table, each after its place, or what is wrong with it. InputUnavailable if it is no
    table, or lacks columns; without `needs_places`, `image` is enough."""
    separator, rows = _rows(file)
    try:
        columns = columns_of([name.strip() for name in next(rows, [])], source, needs_places=needs_places)
        for values in rows:
            place = f"line {rows.line_num}"
            try:
                line = _line(columns, values, separator)
            except ValueError as error:
                yield place, error
            else:
                yield place, line
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputUnavailable(f"{source} cannot be read: {error}") from error


def _rows(file: TextIO) -> tuple[str, Any]:
    """The separator of a table, and a csv.reader of it that begins with the names of the columns."""
    first = file.readline().rstrip("\r\n")
    file.seek(0)
    separator = max(SEPARATORS, key=first.count)
    if first.startswith(SEPARATOR_LINE) and len(first) == len(SEPARATOR_LINE) + 1:
        separator = first[-1]
    rows = csv.reader(file, delimiter=separator, skipinitialspace=True)
    if first.startswith(SEPARATOR_LINE):
        next(rows)
    return separator, rows


def columns_of(names: Sequence[str], source: Path, *, needs_places: bool = True) -> Sequence[str]:
    """Our names of the columns; those of other columns stay as they are. InputUnavailable if some are missing
    or ambiguous; without `needs_places`, `image` is enough."""
    ours = dict(zip(names, names, strict=True))
    if not ours.keys() >= set(CORNERS):
        found = next((corners for corners in OTHER_CORNERS if ours.keys() >= set(corners)), ())
        ours.update(zip(found, CORNERS, strict=False))
    for name, others in OTHER_NAMES.items():
        if name not in ours:
            ours.update((other, name) for other in others if other in ours)
    columns = [ours[name] for name in names]
    twice = next((column for column in columns if column and columns.count(column) > 1), None)
    if twice:
        several = ", ".join(name for name in names if ours[name] == twice)
        raise InputUnavailable(f"{source} has several columns for {twice}: {several}")
    has_box, has_point = set(columns) >= set(CORNERS), set(columns) >= set(POINT)
    if "image" not in columns or (needs_places and not (has_box or has_point)):
        raise InputUnavailable(
            f"{source} needs a first line that names the columns: image, and x0, y0, x1, y1 or x, y; "
            "label, id and point, if there are any"
        )
    if has_point and not has_box and "point" not in columns and any(map(_is_extent, columns)):
        raise InputUnavailable(
            f"{source} has x and y beside a width or height: name corners x0, y0, x1, y1, or for points add "
            "a column point"
        )
    return columns


def _is_extent(column: str) -> bool:
    name = column.lower()
    return name in ("w", "h") or name.endswith(SIZE)


def _line(columns: Sequence[str], values: Sequence[str], separator: str) -> Line:
    if any(values[len(columns) :]):
        raise ValueError(f"has {len(values)} values for {len(columns)} columns")
    line = {name: value.strip() for name, value in zip(columns, values, strict=False)}
    if separator != ",":  # then numbers may have commas
        line |= {name: line[name].replace(",", ".") for name in NUMBERS if name in line}
    return line


def image_of(line: Line) -> str:
    """The name of the image that a line is about; ValueError if it can be none."""
    try:
        return image_name(line.get("image", ""))
    except ValueError as error:
        raise ValueError(f"image {error}") from error


def add_line(line: Line, place: str, images: dict[str, ImageLines]) -> None:
    """Adds what a line says to its image; ValueError, and no change but the image itself, if it is wrong."""
    if not any(line.values()):
        return
    image = images.setdefault(image_of(line), ImageLines())
    if not any(value for name, value in line.items() if name not in ("image", *SIZE)):
        return  # an image in which nothing is annotated
    size = stated_size(line.get("height"), line.get("width"))
    if size and image.size not in (None, size):
        raise ValueError("width and height are not those of an earlier line of the image")
    image.size = image.size or size
    label, id = line.get("label", ""), line.get("id") or None
    found = image.objects.get((id, "" if id else place)) or _Object(place, label, id)
    found.add(_box(line), _points(line), label)
    image.objects[id, "" if id else place] = found


def _box(line: Line) -> Box | None:
    corners = [value for column in CORNERS if (value := line.get(column))]
    if corners and len(corners) < len(CORNERS):
        raise ValueError("must have x0, y0, x1 and y1, or x and y")
    return Box(*map(number, corners)) if corners else None


def _points(line: Line) -> list[Point]:
    place = [value for column in POINT if (value := line.get(column))]
    if len(place) == 1 or not (place or line.get("x0")):
        raise ValueError("must have x0, y0, x1 and y1, or x and y")
    kind = number(line.get("point") or 1)
    if kind not in (0, 1):
        raise ValueError(
            f"point must be 1 (on the object) or 0 (beside it), got {reprlib.repr(line['point'])}"
        )
    return [Point(number(place[0]), number(place[1]), int(kind))] if place else []
