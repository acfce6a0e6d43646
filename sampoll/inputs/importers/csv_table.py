"""CSV: one line for each box or point; the first line names the columns."""

import csv
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from sampoll.core.errors import BadPrompt, InputUnavailable
from sampoll.core.jobs import Point, Prompt
from sampoll.inputs.importers.base import AnnotatedImage, box_prompt, image_name, named, number

BOX, POINT = ("x0", "y0", "x1", "y1"), ("x", "y")


def read(source: Path, images: Path | None) -> Iterator[AnnotatedImage | BadPrompt]:
    """Reads a table with a column `image`, and x0, y0, x1, y1 or x, y. Optional columns: `label` of the
    object; `id`: lines of an image with the same one form one prompt; `point`: 1 (default) on the object, 0
    beside it. Paths of images are relative to the table's folder, or to `images`."""
    by_image: dict[str, dict[object, Prompt]] = {}
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            _check_columns(source, table.fieldnames or ())
            for line in table:
                place = f"line {table.line_num}"
                try:
                    prompts = by_image.setdefault(_image(line), {})
                    key: object = line.get("id") or table.line_num
                    prompts[key] = _joined(prompts.get(key), _prompt(line))
                except (ValueError, TypeError) as error:
                    yield BadPrompt(str(error), file=str(source), field=place)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputUnavailable(f"{source} cannot be read: {error}") from error
    for image, prompts in by_image.items():
        if prompts:
            yield AnnotatedImage(image, (images or source.parent) / image, tuple(prompts.values()))


def _check_columns(source: Path, columns: object) -> None:
    names = set(columns) if isinstance(columns, list | tuple) else set()
    if "image" not in names or not (names.issuperset(BOX) or names.issuperset(POINT)):
        raise InputUnavailable(
            f"{source} needs a first line that names the columns: image, and x0, y0, x1, y1 or x, y; "
            "label, id and point, if there are any"
        )


def _image(line: Mapping[str, str]) -> str:
    try:
        return image_name(line["image"] or "")
    except ValueError as error:
        raise ValueError(f"image {error}") from error


def _prompt(line: Mapping[str, str]) -> Prompt:
    label, id = line.get("label") or "", line.get("id") or None
    if all(line.get(column) for column in BOX):
        return box_prompt(line["x0"], line["y0"], line["x1"], line["y1"], label, id)
    if not all(line.get(column) for column in POINT):
        raise ValueError("must have x0, y0, x1 and y1, or x and y")
    kind = number(line.get("point") or 1)
    if kind not in (0, 1):
        raise ValueError(
            f"point must be 1 (on the object) or 0 (beside it), got {reprlib.repr(line['point'])}"
        )
    return Prompt(points=(Point(number(line["x"]), number(line["y"]), int(kind)),), **named(label, id))


def _joined(prompt: Prompt | None, more: Prompt) -> Prompt:
    if prompt is None:
        return more
    if prompt.box and more.box:
        raise ValueError(f"id {more.id} has a second box: a prompt has one")
    return Prompt(
        points=(*prompt.points, *more.points), box=prompt.box or more.box, label=more.label, id=more.id
    )
