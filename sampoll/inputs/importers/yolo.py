"""YOLO: boxes of detection labels, and the boxes around the polygons of segmentation labels.

https://docs.ultralytics.com/datasets/detect/
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import yaml

from sampoll.core.errors import BadPrompt, InputUnavailable, JobError
from sampoll.core.jobs import Prompt
from sampoll.core.names import base_name
from sampoll.files.files import files_below, walk
from sampoll.inputs.decode import image_size
from sampoll.inputs.importers.base import (
    AnnotatedImage,
    annotated_image,
    box_prompt,
    files_of,
    image_beside,
    number,
)

LABELS, IMAGES = "labels", "images"
CLASSES = "classes.txt"
"""File with the names of the classes, one per line, which some tools write beside the labels."""


def read(source: Path, images: Path | None) -> Iterator[AnnotatedImage | JobError]:
    """Reads a data set's folder, or its data.yaml. The image of .../labels/NAME.txt is .../images/NAME; that
    of another NAME.txt is beside it. If `images` is given, images are below that folder."""
    root = source.parent if source.suffix in (".yaml", ".yml") else source
    classes = _classes(source, root)
    has_folders = root.is_dir() and any(
        base_name(folder) == LABELS or any(entry.name == LABELS and entry.is_dir() for entry in entries)
        for folder, entries in walk(root)  # links to folders are among the entries
    )
    for path in files_of(root, ".txt"):
        if isinstance(path, BadPrompt):
            yield path
            continue
        if path.name == CLASSES or (has_folders and LABELS not in path.relative_to(root).parts):
            continue
        where = path.relative_to(root) if root.is_dir() else Path(path.name)
        try:
            image = image_beside(_place_of_image(path, root, images))
            size = image_size(image.read_bytes())
            lines = path.read_text("utf-8", "replace").splitlines()
        except (OSError, ValueError) as error:
            reason = f"cannot be read: {error}" if isinstance(error, OSError) else str(error)
            yield BadPrompt(reason, file=str(path))
            continue
        if size is None:
            yield BadPrompt("has no image that can be read", file=str(path))
            continue
        prompts: dict[str, Prompt] = {}
        for line_number, line in enumerate(lines, start=1):
            try:
                if words := line.split():
                    prompts[f"line {line_number}"] = _prompt(words, size, classes)
            except ValueError as error:
                yield BadPrompt(str(error), file=str(path), field=f"line {line_number}")
        parts = [part for part in where.parts if part != LABELS]
        name = Path(*parts).with_suffix(image.suffix)
        yield annotated_image(name.as_posix(), image, prompts, path)


def _place_of_image(label: Path, root: Path, images: Path | None) -> Path:
    if images is not None:
        below = label.relative_to(root) if root.is_dir() else Path(label.name)
        return images.joinpath(*(part for part in below.parts if part != LABELS))
    parts = list(label.parts)
    if LABELS in parts:
        parts[len(parts) - 1 - parts[::-1].index(LABELS)] = IMAGES
    return Path(*parts)


def _classes(source: Path, root: Path) -> Mapping[str, str]:
    """Names of classes, from data.yaml or classes.txt; without these, class numbers are used as labels."""
    given = source if source.suffix in (".yaml", ".yml") else root / "data.yaml"
    lists = sorted(path for path in files_below(root) if path.name == CLASSES)
    try:
        if given.is_file():
            # All values stay strings: other loaders raise anything for dates, and merge mappings without end.
            names = yaml.load(given.read_text("utf-8"), yaml.BaseLoader)["names"]
        else:
            names = lists[0].read_text("utf-8").splitlines() if lists else []
        if not isinstance(names, list | dict):
            raise TypeError("must be a list, or names by number")
        pairs = list(names.items() if isinstance(names, dict) else enumerate(names))
        if any(isinstance(name, list | dict) for _, name in pairs):  # aliases can make them endless as text
            raise TypeError("each must be a single value")
        return {str(number): str(name) for number, name in pairs}
    except (yaml.YAMLError, OSError, TypeError, KeyError, ValueError, RecursionError) as error:
        raise InputUnavailable(f'{given} has no "names" of classes: {error}') from error


def _prompt(words: list[str], size: tuple[int, int], classes: Mapping[str, str]) -> Prompt:
    label = classes.get(words[0], words[0])
    places, (height, width) = [number(word) for word in words[1:]], size
    if len(places) in (4, 5):  # the fifth is a confidence
        x, y, w, h = places[:4]
        corners = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    elif len(places) >= 6 and len(places) % 2 == 0:
        polygon = np.array(places).reshape(-1, 2)
        corners = [*polygon.min(axis=0).tolist(), *polygon.max(axis=0).tolist()]
    else:
        raise ValueError("must be a class and x y width height, or a class and x y x y x y ...")
    x0, y0, x1, y1 = corners
    return box_prompt(x0 * width, y0 * height, x1 * width, y1 * height, label)
