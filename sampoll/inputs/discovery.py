"""Finds the images and pairs that are named on a command line."""

import errno
import glob
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sampoll.core.errors import BadImage, IncompletePair, InputUnavailable
from sampoll.core.filenames import PROMPT_SUFFIXES, is_image, is_prompt, split_name, versioned
from sampoll.core.names import folder_of, printable
from sampoll.files.files import files_below, read_regular


@dataclass(frozen=True)
class Pair:
    """An image and its prompt, if it has one; `name` is the image's path below the folder given, without
    extension."""

    name: str
    image: Path
    prompt: Path | None

    @property
    def image_path(self) -> str:
        """The image's path below the folder given."""
        folder = folder_of(self.name)
        return f"{folder}/{self.image.name}" if folder else self.image.name


def pairs_of(
    paths: Iterable[str], prompt: Path | None, *, needs_prompt: bool = True
) -> Iterator[Pair | IncompletePair]:
    """The pairs in `paths`: files, folders with all folders below, and shell patterns. Each gets a unique
    name; an image without exactly one prompt is an IncompletePair, except one that has and needs none.
    `prompt`, if given, is for every image.

    InputUnavailable for a path that does not exist.
    """
    names: set[str] = set()
    for image, wanted in _images(paths):
        beside = [prompt] if prompt else _prompts_beside(image)
        if len(beside) > 1 or (needs_prompt and not beside):
            what = "has no prompt" if not beside else f"has {len(beside)} prompts"
            suffixes = " or ".join(sorted(PROMPT_SUFFIXES))
            yield IncompletePair(
                f"{what}: one is needed beside it, {image.stem} and {suffixes}", file=str(image)
            )
            continue
        version = 1
        while (name := versioned(wanted, version)) in names:
            version += 1
        names.add(name)
        yield Pair(name, image, beside[0] if beside else None)


def _images(paths: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """Each image, and its path without extension, relative to the folder that was searched."""
    for text in paths:
        found = [Path(text)] if Path(text).exists() else _matches(text)
        if not found:
            raise InputUnavailable(f"no file or folder {text}")
        for path in found:
            if path.is_dir():
                for image in images_below(path):
                    yield image, split_name(str(image.relative_to(path)))[0]
            elif not is_prompt(path.name):
                yield path, split_name(path.name)[0]


def _matches(pattern: str) -> list[Path]:
    # Not Path.glob, which takes no absolute patterns.
    return [Path(path) for path in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207


def _prompts_beside(image: Path) -> list[Path]:
    stem = split_name(image.name)[0]
    return [path for suffix in sorted(PROMPT_SUFFIXES) if (path := image.with_name(stem + suffix)).is_file()]


def images_below(folder: Path) -> list[Path]:
    """The images in a folder, and in all folders below it."""
    return sorted(path for path in files_below(folder) if is_image(path.name))


def image_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files in `paths`, of any type, and the images in and below its folders, sorted by name;
    InputUnavailable for a path that does not exist."""
    for path in paths:
        if path.is_dir():
            yield from images_below(path)
        elif path.exists():
            yield path
        else:
            raise InputUnavailable(f"no file or folder {path}")


def read_image(path: Path, max_image_bytes: int) -> bytes:
    """The content of an image file, to which a link may lead; BadImage if it is too large, cannot be read, or
    is no file, such as a device or a pipe."""
    try:
        return read_regular(path, at_most=max_image_bytes, follows_links=True)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise BadImage(
                f"has more than {max_image_bytes} bytes (--max-image-bytes)", file=str(path)
            ) from error
        raise BadImage(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    except ValueError as error:  # a path that no file can have
        raise BadImage(f"cannot be read: {error}", file=printable(str(path))) from error


def read_image_again(path: Path, max_image_bytes: int, sha256: str, *, file: str) -> bytes:
    """The content of an image file that was segmented before, with this SHA-256; BadImage, about `file`, if
    it has another content by now, or is not there."""
    content = read_image(path, max_image_bytes)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BadImage("has another content than it had", file=file)
    return content
