"""Writes annotated images as pairs into a directory, as an input for `sampoll run`."""

import errno
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from sampoll.core.errors import (
    AmbiguousPair,
    BadImage,
    BadPrompt,
    JobError,
    OutputExists,
    OutputFailed,
    translated_os_errors,
)
from sampoll.core.filenames import is_image, is_in_reach, is_prompt, split_name
from sampoll.core.jobs import Exif, Prompt
from sampoll.files.atomic import created_file
from sampoll.inputs.check import check_pair
from sampoll.inputs.decode import image_size
from sampoll.inputs.discovery import read_image
from sampoll.inputs.importers.base import (
    MAX_FILE_NAME_BYTES,
    AnnotatedImage,
    Size,
    image_name,
    in_its_unicode_form,
)
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.prompt_file import parse_prompts, prompts_document
from sampoll.inputs.usable_prompts import check_inside

PROMPT_SUFFIX = ".json"
UNLINKABLE = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)
"""The errors of a file system that cannot make a hard link here."""
UNUSABLE_PATH = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL)
"""The errors of a path that no file can get, while others can."""


@dataclass(frozen=True)
class Imported:
    """An image of a data set, and how many prompts its pair has. Without prompts there is no pair."""

    name: str
    prompts: int


def write_pairs(
    images: Iterable[AnnotatedImage | JobError], directory: Path, options: DecodingOptions, *, copies: bool
) -> Iterator[Imported | JobError]:
    """Writes a pair for each annotated image. The image is hard-linked, or copied if `copies` is true or it
    cannot be linked. Yields what became of each image; and each thing that was passed over, as a JobError: an
    image, or one of its prompts.

    What is written is valid by the rules of a run with these `options`.
    """
    target = _Target(directory)
    for image in images:
        if isinstance(image, JobError):
            yield image
            continue
        try:
            yield (yield from _imported(image, target, options, copies=copies))
        except JobError as error:
            yield error


def _imported(
    image: AnnotatedImage, target: "_Target", options: DecodingOptions, *, copies: bool
) -> Generator[JobError, None, Imported]:
    if not image.prompts:
        return Imported(image.name, 0)
    image = replace(target.checked(image), path=in_its_unicode_form(image.path))
    content = _content(image, options)
    check_size(content, image.size, image.name, options.exif)
    prompts = yield from _fitting(image, image_size(content, options.exif), options)
    if prompts:
        document = prompts_file(prompts)
        check_pair(document, image.name, content, image.name, options)
        if len(document) > options.limits.max_prompt_bytes:
            raise BadPrompt(
                f"its prompts take more than {options.limits.max_prompt_bytes} bytes (--max-prompt-bytes)",
                file=image.name,
            )
        target.write(image, document, copies=copies)
    return Imported(image.name, len(prompts))


def _content(image: AnnotatedImage, options: DecodingOptions) -> bytes:
    if image.content is not None:
        if len(image.content) > options.limits.max_image_bytes:
            raise BadImage(
                f"has more than {options.limits.max_image_bytes} bytes (--max-image-bytes)", file=image.name
            )
        return image.content
    try:
        is_file = image.path.is_file()
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror or error}", file=image.name) from error
    if not is_file:
        raise BadImage(f"is not there: no file {image.path}", file=image.name)
    return read_image(image.path, options.limits.max_image_bytes)


def check_size(content: bytes, stated: Size | None, name: str, exif: Exif) -> None:
    """Refuses an image that has another size than the data set states: its prompts are about another one."""
    size = image_size(content, exif)
    if size is None or stated is None or size == stated:
        return
    other: Exif = "ignore" if exif == "apply" else "apply"
    hint = f"; with --exif {other} it has that size" if image_size(content, other) == stated else ""
    raise BadImage(
        f"has {_shown(size)} pixels, and {_shown(stated)} according to the data set{hint}", file=name
    )


def _shown(size: Size) -> str:
    height, width = size
    return f"{width}x{height}"


def _fitting(
    image: AnnotatedImage, size: Size | None, options: DecodingOptions
) -> Generator[JobError, None, list[Prompt]]:
    """The prompts that a run would take for an image of this size; yields an error for each other one."""
    prompts = []
    for field, prompt in image.placed:
        try:
            parse_prompts(prompts_file([prompt]), "", options.limits)
            if size is not None:
                check_inside(prompt, size, "", "")
            prompts.append(prompt)
        except (BadPrompt, TypeError) as error:  # the latter for text that is not Unicode
            yield BadPrompt(str(error), file=image.source or image.name, field=field)
    return prompts


def prompts_file(prompts: Sequence[Prompt]) -> bytes:
    """The content of a prompt file with these prompts."""
    found = prompts_document(prompts)
    document = found[0] if len(found) == 1 else {"prompts": found}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


class _Target:
    """The input that pairs are written into."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._written: dict[str, Path] = {}  # the images by the stems of their names
        self._there: dict[Path, dict[str, Path]] = {}

    def checked(self, image: AnnotatedImage) -> AnnotatedImage:
        """The image with its name in the usual form; a JobError if it can be no pair here by that name."""
        try:
            image = replace(image, name=image_name(image.name))
        except ValueError as error:
            raise BadImage(str(error), file=image.name) from error
        if not is_image(image.name):
            raise BadImage("has no extension of an image", file=image.name)
        if not is_in_reach(image.name):
            raise BadImage("lies where no run looks, by its name or a folder's: rename that", file=image.name)
        stem, path = split_name(image.name)[0], self._directory / image.name
        if len(os.fsencode(_prompt_of(path).name)) > MAX_FILE_NAME_BYTES:
            raise BadImage("has a name too long for that of its prompt file: shorten it", file=image.name)
        if self._written.get(stem) == image.path:
            raise AmbiguousPair(
                "is listed several times: only the prompts of the first time are imported", file=image.name
            )
        if stem in self._written:
            raise AmbiguousPair(
                "shares its name but for the extension with another image: import one of them elsewhere",
                file=image.name,
            )
        if taken := self._found_in(path.parent).get(split_name(path.name)[0]):
            raise _exists(taken, image)
        return image

    def _found_in(self, folder: Path) -> dict[str, Path]:
        """What was in a folder before anything was written, and would be part of a pair, by its stem."""
        if folder not in self._there:
            found: list[Path] = []
            with suppress(OSError):  # it is not there yet, or writing says what is wrong with it
                found = sorted(folder.iterdir(), reverse=True)
            self._there[folder] = {
                split_name(path.name)[0]: path
                for path in found
                if is_image(path.name) or is_prompt(path.name)
            }
        return self._there[folder]

    def write(self, image: AnnotatedImage, document: bytes, *, copies: bool) -> None:
        path = self._directory / image.name
        with translated_os_errors("write pairs to", self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                _write_pair(image, path, document, copies=copies)
            except FileExistsError as error:  # since we looked
                raise _exists(Path(str(error.filename2 or error.filename)), image) from error
            except OSError as error:
                if error.errno not in UNUSABLE_PATH:
                    raise
                raise OutputFailed(f"cannot be written: {error.strerror}", file=image.name) from error
        self._written[split_name(image.name)[0]] = image.path


def _prompt_of(image: Path) -> Path:
    return image.with_name(split_name(image.name)[0] + PROMPT_SUFFIX)


def _write_pair(image: AnnotatedImage, target: Path, document: bytes, *, copies: bool) -> None:
    prompt = _prompt_of(target)
    # The prompt first: a run that watches the directory takes a pair once both are there.
    with created_file(prompt) as file:
        file.write(document)
    try:
        _put(image, target, copies=copies)
    except BaseException:
        prompt.unlink(missing_ok=True)
        raise


def _exists(path: Path, image: AnnotatedImage) -> OutputExists:
    return OutputExists(f"{path} is there already: the pair was left as it is", file=image.name)


def _put(image: AnnotatedImage, target: Path, *, copies: bool) -> None:
    if image.content is not None:
        with created_file(target) as file:
            file.write(image.content)
        return
    if not copies:
        try:
            os.link(image.path.resolve(), target)
            return
        except OSError as error:
            if error.errno not in UNLINKABLE:
                raise
    with image.path.open("rb") as original, created_file(target) as copy:
        shutil.copyfileobj(original, copy)
