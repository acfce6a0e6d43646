"""YOLO: labels for detection, segmentation, poses and oriented boxes, one text file for each image.

https://docs.ultralytics.com/datasets/
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from sampoll.core.errors import BadPrompt, InputUnavailable, JobError
from sampoll.core.filenames import is_image
from sampoll.core.jobs import Prompt
from sampoll.files.files import files_below
from sampoll.inputs.decode import image_size
from sampoll.inputs.importers.base import AnnotatedImage, Size, annotated_image, text_of
from sampoll.inputs.importers.yolo_class_files import ClassFiles, is_description, is_list
from sampoll.inputs.importers.yolo_classes import Classes
from sampoll.inputs.importers.yolo_files import above_labels, image_of, label_files, name_of
from sampoll.inputs.importers.yolo_line import prompt_of

CONFIGURATION_SUFFIX = ".data"


def read(source: Path, images: Path | None) -> Iterator[AnnotatedImage | JobError]:
    """Reads the folder of a data set, a file in it that names the classes, or a single label file.

    The image of .../labels/NAME.txt is .../images/NAME, or beside it, as it is for other label files. If
    `images` is given, images are below that folder.
    """
    if not source.exists():
        raise InputUnavailable(f"no file or folder {source}")
    source = Path(os.path.abspath(source))  # noqa: PTH100  the folders above count, and links are kept
    root = source if source.is_dir() else source.parent
    labels: list[Path] = []
    for found in label_files(root) if _stands_for_its_folder(source) else [source]:
        if isinstance(found, BadPrompt):
            yield found
        else:
            labels.append(found)
    class_files = ClassFiles(above_labels(root), source if is_description(source) else None)
    # For all folders before the first image: a file that is wrong leaves no half of a data set behind.
    classes = {
        folder: class_files.of(folder) for folder in dict.fromkeys([root, *(p.parent for p in labels)])
    }
    yield from class_files.problems
    if not labels:
        raise InputUnavailable(f"no YOLO labels in {root}")
    label_of_image: dict[Path, Path] = {}
    for label in labels:
        try:
            image = image_of(label, root, images)
            if (other := label_of_image.setdefault(image, label)) != label:
                raise ValueError(f"is left out: the labels of {image.name} are those in {other}")
            yield from _read_one(label, name_of(label, root), image, classes[label.parent])
        except ValueError as error:
            yield BadPrompt(str(error), file=str(label))
        except InputUnavailable as error:
            yield BadPrompt(str(error))
    if _stands_for_its_folder(source):
        yield from _images_without_labels(images or root, label_of_image)


def _images_without_labels(folder: Path, with_labels: Collection[Path]) -> Iterator[AnnotatedImage]:
    for path in files_below(folder):
        if is_image(path.name) and path not in with_labels:
            yield AnnotatedImage(path.relative_to(folder).as_posix(), path, ())


def _stands_for_its_folder(source: Path) -> bool:
    return (
        source.is_dir() or is_description(source) or is_list(source) or source.suffix == CONFIGURATION_SUFFIX
    )


def _read_one(
    label: Path, name: Path, image: Path, classes: Classes | None
) -> Iterator[AnnotatedImage | BadPrompt]:
    size = _size(image)
    prompts: dict[str, Prompt] = {}
    for number, line in enumerate(text_of(label).splitlines(), start=1):
        field = f"line {number}"
        try:
            if words := line.split():
                prompts[field] = prompt_of(words, size, classes)
        except ValueError as error:
            yield BadPrompt(str(error), file=str(label), field=field)
    yield annotated_image(name.with_suffix(image.suffix).as_posix(), image, prompts, label, size)


def _size(image: Path) -> Size:
    """ValueError if it is no image."""
    try:
        size = image_size(image.read_bytes())
    except OSError as error:
        raise ValueError(f"has an image that cannot be read: {image}: {error.strerror}") from error
    if size is None:
        raise ValueError(f"has an image that cannot be read: {image}")
    return size
