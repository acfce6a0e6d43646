"""LabelMe: points, and the boxes around all other shapes.

https://github.com/wkentaro/labelme
"""

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from sampoll.core import base64_text
from sampoll.core.errors import BadPrompt, JobError
from sampoll.core.filenames import DONE, PRIVATE
from sampoll.core.jobs import Prompt
from sampoll.core.names import base_name
from sampoll.inputs.image_files import jpeg, png
from sampoll.inputs.importers.base import (
    AnnotatedImage,
    Size,
    documents_of,
    image_name,
    stated_size,
    text,
)
from sampoll.inputs.importers.labelme_shapes import Shape, prompt_of, shape_of


def read(source: Path, images: Path | None) -> Iterator[AnnotatedImage | JobError]:
    """Reads a file or a folder of files. Shapes with the same label and `group_id` are one object. An image
    that is embedded in its file is taken from there if there is no other."""
    root = source if source.is_dir() else source.parent
    for found in documents_of(source, "LabelMe", "shapes"):
        try:
            if isinstance(found, BadPrompt):
                raise found
            path, document = found
            size = _size(document, path)
            image, content = _image(document, path, root, images)
        except BadPrompt as error:
            yield error
            continue
        prompts: dict[str, Prompt] = {}
        yield from _fill(prompts, document["shapes"], size, path)
        name = path.relative_to(root).with_suffix(image.suffix).as_posix()
        yield AnnotatedImage(name, image, tuple(prompts.values()), str(path), tuple(prompts), size, content)


def _size(document: Mapping[str, Any], path: Path) -> Size | None:
    try:
        return stated_size(document.get("imageHeight"), document.get("imageWidth"))
    except ValueError as error:
        raise BadPrompt(str(error), file=str(path), field="imageHeight and imageWidth") from error


def _image(
    document: Mapping[str, Any], path: Path, root: Path, images: Path | None
) -> tuple[Path, bytes | None]:
    """Where the image of a file is; and its content, if it is embedded and not there. BadPrompt if there is
    none that may be read."""
    data = document.get("imageData")
    try:
        image = _place(text(document.get("imagePath")), path, root, images)
        if not data or image.is_file():
            return image, None
    except (ValueError, OSError) as error:  # the latter for a path that is too long, or may not be looked at
        if not data:
            raise BadPrompt(str(error), file=str(path), field="imagePath") from error
    try:
        content = base64_text.decoded(text(data))
        return path.with_suffix(_suffix(content)), content
    except ValueError as error:
        raise BadPrompt(
            f"must be a JPEG or PNG in base64: {error}", file=str(path), field="imageData"
        ) from error


def _place(written: str, path: Path, root: Path, images: Path | None) -> Path:
    """Where the image is that a file names: below the root of the data set, or among the finished inputs of a
    run, where the files lead that sampoll writes. Otherwise ValueError, as of `image_name`."""
    name = PureWindowsPath(written).as_posix()  # also that of a path of other systems
    folder = path.parent.relative_to(root)
    if images is not None:  # of images elsewhere, only the name is known
        return images / folder / image_name(base_name(name))
    if _is_finished_input(path.parent / name):
        return Path(os.path.realpath(path.parent / name))
    is_anchored = bool(PureWindowsPath(written).anchor)
    return root / image_name(name if is_anchored else posixpath.normpath(folder / name))


def _is_finished_input(path: Path) -> bool:
    try:
        above = Path(os.path.realpath(path)).parents
        return any(folder.name == DONE and (folder.parent / PRIVATE).is_dir() for folder in above)
    except (ValueError, OSError):  # for a path with a NUL; one that is too long, or may not be looked at
        return False


def _suffix(content: bytes) -> str:
    """That of the two formats in which LabelMe embeds images."""
    for signature, suffix in ((jpeg.SIGNATURE, ".jpg"), (png.SIGNATURE, ".png")):
        if content.startswith(signature):
            return suffix
    raise ValueError("it begins like none of them")


def _fill(
    prompts: dict[str, Prompt], shapes: Sequence[Any], size: Size | None, path: Path
) -> Iterator[BadPrompt]:
    """Adds a prompt for each object, under the place of its first shape; yields an error for each shape that
    is passed over or has no label."""
    objects: dict[object, tuple[str, list[Shape]]] = {}
    for index, document in enumerate(shapes):
        place = f"shapes[{index}]"
        try:
            shape = shape_of(document)
        except ValueError as error:
            yield BadPrompt(str(error), file=str(path), field=place)
            continue
        if not shape.label:
            yield BadPrompt('has no label: it is imported as "object"', file=str(path), field=place)
        key = index if shape.group is None else (shape.label, shape.group)
        objects.setdefault(key, (place, []))[1].append(shape)
    for place, of_object in objects.values():
        try:
            prompts[place] = prompt_of(of_object, size)
        except ValueError as error:
            yield BadPrompt(str(error), file=str(path), field=place)
