"""`sampoll prompts check`: validates prompt files before a run, by the rules of a run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sampoll.core.errors import AmbiguousPair, BadPrompt, InputUnavailable, JobError
from sampoll.core.filenames import is_ignored, is_image, is_prompt, is_searched, split_name
from sampoll.core.jobs import SkippedPrompt
from sampoll.files.files import files_below
from sampoll.inputs.decode import inspect_image
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.usable_prompts import UsablePrompts, usable_prompts


@dataclass(frozen=True)
class Checked:
    """A prompt file with good prompts, those of them that a run would skip, and its image, if that exists
    already."""

    path: Path
    skipped: Sequence[SkippedPrompt]
    image: Path | None


def check_prompts(paths: Iterable[Path], options: DecodingOptions) -> Iterator[Checked | JobError]:
    """Checks every file in `paths`, and every prompt file in those of its folders that a run would search;
    yields the error that a run would raise in place of an invalid one."""
    for path in paths:
        if path.is_dir():
            files = sorted(_prompt_files(path))
        elif path.exists():
            files = [path]
        else:
            raise InputUnavailable(f"no file or folder {path}")
        for file in files:
            try:
                yield _checked(file, options)
            except JobError as error:
                yield error


def _prompt_files(directory: Path) -> Iterator[Path]:
    for path in files_below(directory, enters=is_searched):
        if is_prompt(path.name) and not is_ignored(path.name):
            yield path


def check_pair(
    prompt: bytes, prompt_file: str, image: bytes | None, image_file: str, options: DecodingOptions
) -> UsablePrompts:
    """The prompts that a run would segment, and those that it would skip. Raises the JobError that a run
    would raise, as far as it can be detected without decoding the image, which may be missing."""
    usable = usable_prompts(prompt, prompt_file, options)
    if image is None:
        return usable
    header, _ = inspect_image(image, image_file, options.limits.max_pixels, options.exif)
    return usable.inside(header.size(options.exif))


@lru_cache(16)
def _by_stem(directory: Path) -> Mapping[str, Sequence[Path]]:
    """The entries of a directory by stem, sorted by name; cached, so that it is scanned only once."""
    found: dict[str, list[Path]] = {}
    for path in sorted(directory.glob("*")):
        found.setdefault(split_name(path.name)[0], []).append(path)
    return found


def _checked(path: Path, options: DecodingOptions) -> Checked:
    beside = _by_stem(path.parent)[split_name(path.name)[0]]
    images = [p for p in beside if is_image(p.name)]
    if len(images) > 1 or sum(is_prompt(p.name) for p in beside) > 1:
        raise AmbiguousPair(f"{', '.join(p.name for p in beside)} share one stem", file=str(path))
    image = images[0] if images else None
    try:
        prompt, content = path.read_bytes(), None if image is None else image.read_bytes()
    except OSError as error:
        raise BadPrompt(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    return Checked(path, check_pair(prompt, str(path), content, str(image), options).skipped, image)
