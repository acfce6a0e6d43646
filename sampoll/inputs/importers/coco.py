"""COCO: the box of each annotation; without one, the box around its segmentation, or its keypoints.

https://cocodataset.org/#format-data
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sampoll.core.errors import BadPrompt, InputUnavailable, JobError
from sampoll.core.jobs import Point, Prompt
from sampoll.inputs.coco_rle import box_of_runs, checked_runs, compressed_runs
from sampoll.inputs.importers.base import (
    MAX_PATH_CHARACTERS,
    AnnotatedImage,
    Size,
    annotated_image,
    box_prompt,
    image_name,
    json_of,
    named,
    number,
    stated_size,
    text,
    whole_number,
)

Corners: TypeAlias = tuple[float, float, float, float]
"""x0, y0, x1, y1 of a box."""
CROWD = "is marked as a crowd (iscrowd), and becomes one object"
NOT_LABELED = 0
"""The visibility value of a keypoint that is not labeled."""


@dataclass(frozen=True)
class _Listed:
    """What the list of images says about one."""

    name: str
    size: Size | None


def read(source: Path, images: Path | None) -> Iterator[AnnotatedImage | JobError]:
    """Reads an instances file; images are in its own folder unless `images` is given.

    Annotations with `iscrowd` are imported like others, and named: for COCO they are around several objects,
    but CVAT and supervision mark single objects so, if they are masks, or have holes or parts.
    """
    document = json_of(source)
    listed, annotations = (_list(document, key, source) for key in ("images", "annotations"))
    labels = _Labels((yield from _names(document.get("categories"), str(source))))
    by_id = yield from _images(listed, str(source))
    prompts: dict[str, dict[str, Prompt]] = {id: {} for id in by_id}
    sizes = {id: found.size for id, found in by_id.items() if found}
    ids: dict[str, str] = {}
    for index, annotation in enumerate(annotations):
        field = f"annotations[{index}]"
        try:
            image = _image_of(annotation, by_id)
            label, shared_label = labels.label(annotation)
            id, taken_id = _own_id(annotation, field, ids)
            prompts[image][field] = _prompt(annotation, label, id, sizes[image])
            faults = [shared_label, taken_id, CROWD if _is_crowd(annotation) else ""]
        except ValueError as error:
            faults = [str(error)]
        yield from (BadPrompt(fault, file=str(source), field=field) for fault in faults if fault)
    for id, found in by_id.items():
        if found:
            path = (images or source.parent) / found.name
            yield annotated_image(found.name, path, prompts[id], source, found.size)


def _list(document: Any, key: str, source: Path) -> list[Any]:
    found = document.get(key) if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise InputUnavailable(f'{source} is no COCO file: it has no list of "{key}"')
    return found


def _names(categories: Any, source: str) -> Generator[BadPrompt, None, Mapping[str, str | None] | None]:
    """The names of the categories by their ids, None for an id with several names; None instead of all, if no
    category is listed. Yields an error for each category that is passed over."""
    if not categories:
        return None
    if not isinstance(categories, list):
        raise InputUnavailable(f"{source}: categories must be a list")
    names: dict[str, str | None] = {}
    for index, category in enumerate(categories):
        try:
            id = _id(category, "id")
            is_new, first = id not in names, names.setdefault(id, None)
            name = _id(category, "name")
            if not is_new and name != first:
                names[id] = None
                raise ValueError(f"id {id} is that of several categories: none of them is imported")
            names[id] = name
        except ValueError as error:
            yield BadPrompt(str(error), file=source, field=f"categories[{index}]")
    return names


def _images(listed: list[Any], source: str) -> Generator[BadPrompt, None, Mapping[str, _Listed | None]]:
    """The images by their ids, None for those that are passed over; yields an error for each of these."""
    found: dict[str, _Listed | None] = {}
    for index, entry in enumerate(listed):
        try:
            id = _id(entry, "id")
            is_new, first = id not in found, found.setdefault(id, None)
            image = _Listed(_file_name(entry), stated_size(entry.get("height"), entry.get("width")))
            if is_new:
                found[id] = image
            elif image == first:
                raise ValueError("is listed a second time")
            else:
                found[id] = None
                raise ValueError(f"id {id} is that of several images: none of them is imported")
        except ValueError as error:
            yield BadPrompt(str(error), file=source, field=f"images[{index}]")
    return found


def _id(entry: Any, key: str) -> str:
    """The id or name that an entry of a list has under `key`; ValueError if it has none."""
    if not isinstance(entry, dict):
        raise ValueError("must be a JSON object")
    value = entry.get(key)
    if value is None or value == "":
        raise ValueError(f"has no {key}")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{key} must be a number or a string")
    if len(name := text(value)) > MAX_PATH_CHARACTERS:
        raise ValueError(f"{key} must not have more than {MAX_PATH_CHARACTERS} characters")
    return name


def _file_name(entry: Mapping[str, Any]) -> str:
    """The path of an image. LVIS has only its address, whose end is a path below the folder of COCO."""
    if not entry.get("file_name") and isinstance(address := entry.get("coco_url"), str):
        entry = {"file_name": "/".join(address.split("/")[-2:])}
    name = _id(entry, "file_name")
    try:
        return image_name(name)
    except ValueError as error:
        raise ValueError(f"file_name {error}") from error


def _image_of(annotation: Any, images: Mapping[str, _Listed | None]) -> str:
    """The id of the annotation's image; ValueError if that is not imported."""
    id = _id(annotation, "image_id")
    if id not in images:
        raise ValueError(f"image_id {id} is not among the images")
    if images[id] is None:
        raise ValueError(f"image_id {id} is that of an image that is passed over")
    return id


def _is_crowd(annotation: Mapping[str, Any]) -> bool:
    return annotation.get("iscrowd") not in (None, 0, "0", "")


class _Labels:
    """Labels for annotations: the names of the categories, or the ids themselves where none is listed."""

    def __init__(self, names: Mapping[str, str | None] | None) -> None:
        self._names = names
        self._users: dict[str, list[str]] = {}

    def label(self, annotation: Mapping[str, Any]) -> tuple[str, str]:
        """The annotation's label, and what is lost by it, if anything; ValueError if it has none."""
        if self._names is None:
            return "" if annotation.get("category_id") is None else _id(annotation, "category_id"), ""
        category = _id(annotation, "category_id")
        if category not in self._names:
            raise ValueError(f"category_id {category} is not among the categories")
        label = self._names[category]
        if label is None:
            raise ValueError(f"category_id {category} is that of a category that is passed over")
        users = self._users.setdefault(label, [])
        if category in users:
            return label, ""
        users.append(category)
        shared = f"category {category} has the name of category {users[0]}: they become one"
        return label, shared if len(users) > 1 else ""


def _own_id(annotation: Mapping[str, Any], field: str, fields: dict[str, str]) -> tuple[str | None, str]:
    """The annotation's own id, None if it has none; and what is wrong with it, if anything. `fields` are the
    places of the ids so far."""
    if annotation.get("id") is None:
        return None, ""
    id = _id(annotation, "id")
    first = fields.setdefault(id, field)
    return (id, "") if first == field else (None, f"id {id} is that of {first} too: it gets none")


def _prompt(annotation: Mapping[str, Any], label: str, id: str | None, size: Size | None) -> Prompt:
    """The prompt of an annotation in an image of this size, if that is known."""
    if box := annotation.get("bbox"):
        if not isinstance(box, list) or len(box) != 4:
            raise ValueError("bbox must be [x, y, width, height]")
        x, y, width, height = map(number, box)
        return box_prompt(x, y, x + width, y + height, label, id)
    if segmentation := annotation.get("segmentation"):
        try:
            is_rle = isinstance(segmentation, dict)
            corners = _around_rle(segmentation, size) if is_rle else _around_polygons(segmentation)
            return box_prompt(*corners, label, id)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"has no bbox, and no box around its segmentation: {error}") from error
    if keypoints := annotation.get("keypoints"):
        return Prompt(points=_points(keypoints), **named(label, id))
    raise ValueError("has no bbox, no segmentation and no keypoints")


def _around_polygons(polygons: Any) -> Corners:
    """The box around polygons [x, y, x, y, ...], or around one that is no list of lists."""
    each = polygons if isinstance(polygons, list) and isinstance(polygons[0], list) else [polygons]
    if not all(isinstance(one, list) and one and len(one) % 2 == 0 for one in each):
        raise ValueError("polygons must be [[x, y, x, y, ...], ...]")
    x, y = (np.concatenate([[number(value) for value in one[first::2]] for one in each]) for first in (0, 1))
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _around_rle(rle: Mapping[str, Any], image_size: Size | None) -> Corners:
    counts, size = rle.get("counts"), rle.get("size")
    if not isinstance(counts, list | str) or not isinstance(size, list) or len(size) != 2:
        raise ValueError("a mask must have counts, and a size [height, width]")
    if isinstance(counts, str):
        runs = compressed_runs(counts)
    else:
        runs = np.array([whole_number(run) for run in counts], np.int64)
    runs, height, width = checked_runs(runs, *size)
    if image_size not in (None, (height, width)):
        raise ValueError("the size of the mask is not that of its image")
    return box_of_runs(runs, height)


def _points(keypoints: Any) -> tuple[Point, ...]:
    if not isinstance(keypoints, list) or len(keypoints) % 3:
        raise ValueError("keypoints must be [x, y, v, ...]")
    triples = zip(*[iter(map(number, keypoints))] * 3, strict=True)
    points = tuple(Point(x, y, 1) for x, y, visibility in triples if visibility != NOT_LABELED)
    if not points:
        raise ValueError("has no bbox, and no keypoint that is labeled")
    return points
