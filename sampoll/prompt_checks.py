"""`sampoll prompts check`: prompt files before a run, as a run would see them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sampoll.decoding import DecodingOptions, check_inside, image_size
from sampoll.errors import AmbiguousPair, BadImage, BadPrompt, InputUnavailable, JobError
from sampoll.prompts import parse_prompts
from sampoll.spool.layout import is_ignored, is_image, is_prompt, split_name


@dataclass(frozen=True)
class Checked:
    """A prompt file, how many prompts it has, and the image that it is for, if that is there already."""

    path: Path
    prompts: int
    image: Path | None


def check_prompts(paths: Iterable[Path], options: DecodingOptions) -> Iterator[Checked | JobError]:
    """Every prompt file among `paths`, in and below folders; in its place the error that a run would meet."""
    for path in paths:
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if _is_prompt_file(p))
        elif path.exists():
            files = [path]
        else:
            raise InputUnavailable(f"no file or folder {path}")
        for file in files:
            try:
                yield _checked(file, options)
            except JobError as error:
                yield error


def _is_prompt_file(path: Path) -> bool:
    return is_prompt(path.name) and not is_ignored(path.name) and path.is_file()


def _checked(path: Path, options: DecodingOptions) -> Checked:
    try:
        placed = parse_prompts(path.read_bytes(), str(path), options.max_prompts)
    except OSError as error:
        raise BadPrompt(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    stem = split_name(path.name)[0]
    beside = sorted(p for p in path.parent.glob("*") if split_name(p.name)[0] == stem)
    images = [p for p in beside if is_image(p.name)]
    if len(images) > 1 or sum(is_prompt(p.name) for p in beside) > 1:
        raise AmbiguousPair(f"{', '.join(p.name for p in beside)} share one stem", file=str(path))
    if images:
        size = image_size(images[0].read_bytes(), options.exif)
        if size is None:
            raise BadImage("is no image that can be read (JPEG, PNG, TIFF, WebP or BMP)", file=str(images[0]))
        for place, prompt in placed.items():
            check_inside(prompt, size, str(path), place)
    return Checked(path, len(placed), images[0] if images else None)
