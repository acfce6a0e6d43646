"""Writes annotated images as pairs into a directory, as an input for `sampoll run`."""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from sampoll.core.errors import AmbiguousPair, BadImage, JobError, OutputExists, translated_os_errors
from sampoll.core.filenames import PROMPT_SUFFIXES, is_image, split_name
from sampoll.files.atomic import created_file
from sampoll.inputs.importers.base import AnnotatedImage, image_name
from sampoll.inputs.prompt_file import prompts_document

PROMPT_SUFFIX = ".json"
UNLINKABLE = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)
"""The errors of a file system that cannot make a hard link here."""


def write_pairs(
    images: Iterable[AnnotatedImage | JobError], directory: Path, *, copies: bool
) -> Iterator[str | JobError]:
    """Writes a pair for each annotated image. The image is hard-linked, or copied if `copies` is true or it
    cannot be linked. Yields the name of each pair, or the error in its place."""
    written: set[str] = set()
    for image in images:
        if isinstance(image, JobError):
            yield image
            continue
        try:
            yield _written(image, directory, written, copies=copies)
        except JobError as error:
            yield error


def _written(image: AnnotatedImage, directory: Path, written: set[str], *, copies: bool) -> str:
    stem = split_name(image.name)[0]
    try:
        image_name(image.name)
    except ValueError as error:
        raise BadImage(str(error), file=image.name) from error
    if not is_image(image.name):
        raise BadImage("has no extension of an image", file=image.name)
    try:
        is_file = image.path.is_file()
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror or error}", file=image.name) from error
    if not is_file:
        raise BadImage(f"is not there: no file {image.path}", file=image.name)
    if stem in written:
        raise AmbiguousPair(
            "shares its name but for the extension with another image: import one of them elsewhere",
            file=image.name,
        )
    target = directory / image.name
    taken = [path for path in (target, *_prompts_of(target)) if os.path.lexists(path)]
    if taken:
        raise _exists(taken[0], image)
    prompts = prompts_document(image.prompts)
    document = prompts[0] if len(prompts) == 1 else {"prompts": prompts}
    with translated_os_errors("write pairs to", directory):
        target.parent.mkdir(parents=True, exist_ok=True)
        prompt = target.with_name(split_name(target.name)[0] + PROMPT_SUFFIX)
        try:
            # The prompt first: a run that watches the directory takes a pair once both are there.
            with created_file(prompt) as file:
                file.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
            try:
                _put(image.path, target, copies=copies)
            except BaseException:
                prompt.unlink(missing_ok=True)
                raise
        except FileExistsError as error:  # since we looked
            raise _exists(Path(str(error.filename2 or error.filename)), image) from error
    written.add(stem)
    return stem


def _exists(path: Path, image: AnnotatedImage) -> OutputExists:
    return OutputExists(f"{path} is there already: the pair was left as it is", file=image.name)


def _prompts_of(image: Path) -> list[Path]:
    return [image.with_name(split_name(image.name)[0] + suffix) for suffix in sorted(PROMPT_SUFFIXES)]


def _put(image: Path, target: Path, *, copies: bool) -> None:
    if not copies:
        try:
            os.link(image.resolve(), target)
            return
        except OSError as error:
            if error.errno not in UNLINKABLE:
                raise
    with image.open("rb") as original, created_file(target) as copy:
        shutil.copyfileobj(original, copy)
