"""OPEX: the boxes of the objects.

https://github.com/WaikatoLink2020/objdet-predictions-exchange-format
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from sampoll.core.errors import BadPrompt, JobError
from sampoll.core.jobs import Box, Prompt
from sampoll.files.file_set import all_written_files
from sampoll.files.files import sha256_of
from sampoll.inputs.importers.base import (
    AnnotatedImage,
    Size,
    annotated_image,
    box_prompt,
    documents_of,
    image_beside,
    images_beside,
    number,
    stated_size,
    text,
)


@dataclass(frozen=True)
class _Record:
    """What a record of sampoll's says: the SHA-256 of the files of the result, and the size of the image."""

    files: Mapping[str, str]
    size: Size | None


def read(source: Path, images: Path | None) -> Iterator[AnnotatedImage | JobError]:
    """Reads a file or a folder of files; the image of NAME.json is NAME beside it, or below `images`.

    Of a record that sampoll has written, all objects of one mask are one prompt, and none of the files of the
    result is taken for the image, or for a record.
    """
    root = source if source.is_dir() else source.parent
    others: list[BadPrompt] = []
    exported = set(_json_files(all_written_files(root))) if source.is_dir() else set()
    for read_one in documents_of(source, "OPEX", "objects"):
        if isinstance(read_one, BadPrompt):
            others.append(read_one)
            continue
        path, document = read_one
        record = _record(document)
        if record:
            exported.update(_json_files(record.files.items()))
        try:
            image = _image(path if images is None else images / path.relative_to(root), record)
        except (ValueError, OSError) as error:
            yield BadPrompt(str(error), file=str(path))
            continue
        prompts: dict[str, Prompt] = {}
        masks: dict[str, str] = {}
        for index, found in enumerate(document["objects"]):
            field = f"objects[{index}]"
            try:
                prompt = _prompt(found)
                first = masks.setdefault(_mask(found) if record else field, field)
                prompts[first] = _joined(prompts.get(first, prompt), prompt)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                yield BadPrompt(
                    f"must have a bbox with left, top, right and bottom: {error}", file=str(path), field=field
                )
        name = path.relative_to(root).with_suffix(image.suffix)
        yield annotated_image(name.as_posix(), image, prompts, path, record.size if record else None)
    yield from (other for other in others if not _is_among(exported, other.file))


def _json_files(written: Iterable[tuple[str, str | None]]) -> Iterator[str]:
    """The SHA-256 of those of the files that an importer of JSON finds."""
    return (sha256 for path, sha256 in written if sha256 and path.endswith(".json"))


def _is_among(digests: Collection[str], file: str | None) -> bool:
    return file is not None and Path(file).is_file() and sha256_of(Path(file)) in digests


def _record(document: Mapping[str, Any]) -> _Record | None:
    """None for a file of another program."""
    try:
        files, size = (orjson.loads(document["meta"][key]) for key in ("files", "image_size"))
        found = {str(path): str(sha256) for path, sha256 in files.items()}
        return _Record(found, stated_size(size["height"], size["width"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _image(place: Path, record: _Record | None) -> Path:
    """The image of the stem of `place` in its folder; ValueError if there is not exactly one."""
    results = [
        image for image in images_beside(place) if record and sha256_of(image) in record.files.values()
    ]
    try:
        return image_beside(place, but_not=results)
    except ValueError as error:
        if not results:
            raise
        hint = f"{results[0].name} is a result: name the folder of the photographs by --images"
        raise ValueError(f"{error}; {hint}") from error


def _mask(found: Mapping[str, Any]) -> str:
    """Which mask of a result the object is a part of."""
    return f"{found['meta']['prompt']} {found['meta']['mask']}"


def _prompt(found: Mapping[str, Any]) -> Prompt:
    left, top, right, bottom = (number(found["bbox"][side]) for side in ("left", "top", "right", "bottom"))
    id = (found.get("meta") or {}).get("prompt_id")
    # In OPEX, right and bottom are the last pixels inside the box.
    return box_prompt(
        left, top, right + 1, bottom + 1, text(found.get("label")), None if id is None else text(id)
    )


def _joined(prompt: Prompt, part: Prompt) -> Prompt:
    """The prompt with a box around both; each of them has one."""
    a, b = prompt.box, part.box
    if a is None or b is None:
        return prompt
    return replace(prompt, box=Box(min(a.x0, b.x0), min(a.y0, b.y0), max(a.x1, b.x1), max(a.y1, b.y1)))
