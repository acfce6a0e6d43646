"""Where the labels of a YOLO data set are, and the images that they belong to."""

import codecs
import math
from collections.abc import Iterator
from pathlib import Path

from sampoll.core.errors import BadPrompt
from sampoll.core.filenames import split_name
from sampoll.files.files import walk
from sampoll.inputs.importers.base import image_beside, images_in
from sampoll.inputs.importers.yolo_class_files import is_list

LABELS = "labels"
IMAGES = ("images", "Images", "JPEGImages")
"""The folders of images that a folder of labels may stand beside."""
HEAD_BYTES = 4096
"""How much of a text file is looked at to see whether it has labels."""


def label_files(root: Path) -> Iterator[Path | BadPrompt]:
    """The label files in a folder and below. Yields an error for each folder that is not looked into.

    They are the text files in folders of labels, followed by those with lines of numbers elsewhere. Where
    there is no folder of labels, all text files with an image beside them are label files.
    """
    among_labels: list[Path] = []
    with_numbers: list[Path] = []
    beside_images: list[Path] = []
    problems: list[BadPrompt] = []

    def passed_over(folder: str, error: OSError) -> None:
        problems.append(BadPrompt(f"cannot be read: {error.strerror}", file=str(root / folder)))

    for folder, entries in walk(root, on_error=passed_over):
        for entry in entries:
            path = root / folder / entry.name
            if (_is_labels(entry.name) or _is_among_labels(path, root)) and path.is_dir():
                problems.append(BadPrompt("is a link to a folder, which is not followed", file=str(path)))
            elif not _may_have_labels(path):
                continue
            elif _is_among_labels(path, root):
                among_labels.append(path)
            elif _begins_with_numbers(path):
                with_numbers.append(path)
            elif split_name(path.name)[0] in images_in(path.parent):
                beside_images.append(path)
    yield from problems
    yield from sorted(among_labels)
    yield from sorted(with_numbers if among_labels else with_numbers + beside_images)


def name_of(label: Path, root: Path) -> Path:
    """The path of a label file in the data set, without the folders that only say that it is one."""
    below = label.relative_to(root)
    return Path(*(part for part in below.parts[:-1] if not _is_labels(part)), below.name)


def image_of(label: Path, root: Path, images: Path | None) -> Path:
    """The image that a label file belongs to; ValueError if there is not exactly one."""
    places = list(_places_of_image(label, root, images))
    stem = split_name(label.name)[0]
    return image_beside(next((place for place in places if stem in images_in(place.parent)), places[0]))


def _places_of_image(label: Path, root: Path, images: Path | None) -> Iterator[Path]:
    """Where the image may be, but for its extension; the first place with one counts."""
    if images is not None:
        yield images / name_of(label, root)
        yield from (images / place for place in _in_place_of_labels(label.relative_to(root)))
        yield images / label.name
    elif _is_among_labels(label, root):
        yield from _in_place_of_labels(label)
        yield label
    else:
        yield label
        yield from _in_place_of_labels(label)


def _in_place_of_labels(label: Path) -> Iterator[Path]:
    above = [index for index, part in enumerate(label.parts[:-1]) if _is_labels(part)]
    for name in IMAGES if above else ():
        yield Path(*label.parts[: above[-1]], name, *label.parts[above[-1] + 1 :])


def above_labels(root: Path) -> Path:
    """The highest folder that can belong to the data set: the one with the labels that `root` is among, if it
    is, and otherwise `root`."""
    above = [folder.parent for folder in (root, *root.parents) if _is_labels(folder.name)]
    return above[0] if above else root


def _is_labels(folder: str) -> bool:
    return folder.lower() == LABELS


def _is_among_labels(path: Path, root: Path) -> bool:
    folders = (root.name, *path.relative_to(root).parts[:-1])
    return any(map(_is_labels, folders))


def _may_have_labels(path: Path) -> bool:
    is_text = split_name(path.name)[1] == ".txt" and not path.name.startswith(".")
    return is_text and not is_list(path) and path.is_file()


def _begins_with_numbers(path: Path) -> bool:
    """Whether the first line looks like one of labels. Those of lists of images, and of notes, do not."""
    try:
        with path.open("rb") as file:
            words = file.read(HEAD_BYTES).removeprefix(codecs.BOM_UTF8).split(b"\n", 1)[0].split()
        return len(words) >= 5 and all(math.isfinite(float(word)) for word in words)
    except (OSError, ValueError):
        return False
