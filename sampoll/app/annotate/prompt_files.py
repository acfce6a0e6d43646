"""The prompt files of images: found, shown, and published without a loss."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from sampoll.core.errors import BadPrompt, JobError, OutputExists, translated_os_errors
from sampoll.core.filenames import PROMPT_SUFFIXES, split_name
from sampoll.core.names import base_name, printable
from sampoll.files.atomic import created_file, replace_file
from sampoll.files.files import read_regular, sync_descriptor, sync_directory
from sampoll.inputs.options import DecodingOptions
from sampoll.inputs.prompt_file import SCHEMA_KEY, good_prompts, prompts_document, read_prompts

NEW_SUFFIX = ".json"


@dataclass(frozen=True)
class FoundFile:
    """The prompt file of an image, or what it would be called if there is none, in which case `sha256` is
    None. `prompts` are those in it, as documents; if they cannot be read, `trouble` says why."""

    path: Path
    sha256: str | None = None
    prompts: Sequence[Mapping[str, Any]] = ()
    trouble: str | None = None
    content: bytes = field(default=b"", repr=False)


def find_prompt_file(image: Path, options: DecodingOptions) -> FoundFile:
    """The prompt file beside an image."""
    stem = split_name(image.name)[0]
    places = [image.with_name(stem + suffix) for suffix in sorted(PROMPT_SUFFIXES)]
    there = [place for place in places if place.is_symlink() or place.exists()]
    if not there:
        return FoundFile(image.with_name(stem + NEW_SUFFIX))
    names = " and ".join(printable(place.name) for place in there)
    if len(there) > 1:
        return FoundFile(there[0], trouble=f"there are {names}: move one of them away", sha256="")
    try:
        content = read_regular(there[0], at_most=options.limits.max_prompt_bytes)
        prompts = list(good_prompts(read_prompts(content, names, options.limits)).values())
    except OSError as error:
        return FoundFile(there[0], trouble=f"{names}: cannot be read: {error.strerror}", sha256="")
    except BadPrompt as error:
        return FoundFile(there[0], trouble=f"{error}; move it away, or correct it", sha256="")
    digest = hashlib.sha256(content).hexdigest()
    return FoundFile(there[0], digest, prompts_document(prompts), content=content)


def publish_prompts(
    image: Path, prompts: Sequence[Mapping[str, Any]], begun_with: str | None, options: DecodingOptions
) -> tuple[str, str]:
    """Writes the prompt file of an image, which is on disk then: a new one, or in the place of the one with
    the SHA-256 `begun_with`, if it is unchanged since; returns its name and its SHA-256. OutputExists for
    anything else of its name."""
    found = find_prompt_file(image, options)
    check_replaceable(found, begun_with)
    schema = orjson.loads(found.content).get(SCHEMA_KEY) if found.content else None
    document = ({} if schema is None else {SCHEMA_KEY: schema}) | {"prompts": prompts}
    content = orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
    written = printable(found.path.name), hashlib.sha256(content).hexdigest()
    with translated_os_errors("write", found.path):
        if begun_with is not None:
            replace_file(found.path, content, sync=True)
            return written
        try:
            with created_file(found.path) as file:
                file.write(content)
                file.flush()
                sync_descriptor(file.fileno())
        except FileExistsError as error:
            raise _taken(found.path) from error
        sync_directory(found.path.parent)
    return written


def check_replaceable(found: FoundFile, begun_with: str | None) -> None:
    """OutputExists if the prompt file is not as it was when its prompts were read."""
    if found.trouble is not None:
        raise OutputExists(found.trouble)
    if found.sha256 != begun_with:
        if found.sha256 is None:
            raise JobError("has gone since it was read: discard the draft", file=found.path.name)
        raise _taken(found.path)


def _taken(path: Path) -> OutputExists:
    return OutputExists(
        "was written by someone else since the image was opened: move it away, or discard the draft",
        file=base_name(str(path)),
    )
