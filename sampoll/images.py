"""Images named on a command line."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from sampoll.errors import BadImage, InputUnavailable
from sampoll.spool.layout import is_image


def image_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files among `paths`, whatever they are, and the images in and below the folders, by name;
    InputUnavailable for what is not there."""
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if is_image(file.name) and file.is_file())
        elif path.exists():
            yield path
        else:
            raise InputUnavailable(f"no file or folder {path}")


def read_image(path: Path, max_image_bytes: int) -> bytes:
    """The content of an image file; BadImage if it is too large or cannot be read."""
    try:
        if path.stat().st_size > max_image_bytes:
            raise BadImage(f"has more than {max_image_bytes} bytes (--max-image-bytes)", file=str(path))
        return path.read_bytes()
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror or error}", file=str(path)) from error
