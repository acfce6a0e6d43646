"""LabelMe: rectangles, points, and the boxes around polygons and all other shapes.

https://github.com/wkentaro/labelme
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from sampoll.core.errors import BadPrompt, JobError
from sampoll.core.filenames import DONE, PRIVATE
from sampoll.core.jobs import Point, Prompt
from sampoll.core.names import base_name
from sampoll.inputs.importers.base import (
    AnnotatedImage,
    box_prompt,
    documents_of,
    image_name,
    named,
    number,
    text,
)


def read(source: Path, images: Path | None) -> Iterator[AnnotatedImage | JobError]:
    """Reads a file or a folder of files. Points with the same label and `group_id` form one prompt."""
    for found in documents_of(source, "LabelMe", "shapes"):
        if isinstance(found, BadPrompt):
            yield found
            continue
        path, document = found
        below = path.relative_to(_root(source))
        folder = path.parent if images is None else images / below.parent
        try:
            # The path may have been written under Windows; of images elsewhere, only the name is known.
            written = PureWindowsPath(text(document.get("imagePath"))).as_posix()
            image = _image(folder, written if images is None else base_name(written))
        except ValueError as error:
            yield BadPrompt(str(error), file=str(path), field="imagePath")
            continue
        prompts: list[Prompt] = []
        groups: dict[Any, int] = {}
        for index, shape in enumerate(document["shapes"]):
            try:
                _add(prompts, groups, shape)
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                yield BadPrompt(str(error), file=str(path), field=f"shapes[{index}]")
        name = below.with_suffix(image.suffix)
        yield AnnotatedImage(name.as_posix(), image, tuple(prompts), str(path))


def _root(source: Path) -> Path:
    return source if source.is_dir() else source.parent


def _image(folder: Path, name: str) -> Path:
    """The image of this name, seen from `folder`: below it, or among the finished inputs of a run, where the
    files lead that sampoll writes. Otherwise ValueError, as of `image_name`."""
    outside = Path(os.path.realpath(folder / name))
    if any(above.name == DONE and _is_folder(above.parent / PRIVATE) for above in outside.parents):
        return outside
    return folder / image_name(name)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # of a path that is too long, or that this user may not look at
        return False


def _add(prompts: list[Prompt], groups: dict[Any, int], shape: Mapping[str, Any]) -> None:
    label, group = text(shape.get("label") or None), shape.get("group_id")
    points = np.array([[number(x), number(y)] for x, y in shape["points"]])
    match shape.get("shape_type", "polygon"):
        case "point" | "points":
            new = tuple(Point(x, y, 1) for x, y in points.tolist())
            index = groups.setdefault((label, object() if group is None else group), len(prompts))
            if index == len(prompts):
                prompts.append(Prompt(points=new, **named(label, None)))
            else:
                prompts[index] = replace(prompts[index], points=(*prompts[index].points, *new))
            return
        case "circle":  # its centre, and a point on it
            radius = float(np.hypot(*(points[1] - points[0])))
            points = np.stack([points[0] - radius, points[0] + radius])
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    prompts.append(box_prompt(x0, y0, x1, y1, label))
