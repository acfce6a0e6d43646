"""OPEX: the boxes of the objects.

https://github.com/WaikatoLink2020/objdet-predictions-exchange-format
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sampoll.core.errors import BadPrompt, JobError
from sampoll.core.jobs import Prompt
from sampoll.inputs.importers.base import (
    AnnotatedImage,
    annotated_image,
    box_prompt,
    documents_of,
    image_beside,
    text,
)


def read(source: Path, images: Path | None) -> Iterator[AnnotatedImage | JobError]:
    """Reads a file or a folder of files; the image of NAME.json is NAME beside it, or below `images`."""
    root = source if source.is_dir() else source.parent
    for read_one in documents_of(source, "OPEX", "objects"):
        if isinstance(read_one, BadPrompt):
            yield read_one
            continue
        path, document = read_one
        try:
            image = image_beside(path if images is None else images / path.relative_to(root))
        except ValueError as error:
            yield BadPrompt(str(error), file=str(path))
            continue
        prompts: dict[str, Prompt] = {}
        for index, found in enumerate(document["objects"]):
            field = f"objects[{index}]"
            try:
                prompts[field] = _prompt(found)
            except (ValueError, TypeError, KeyError) as error:
                yield BadPrompt(
                    f"must have a bbox with left, top, right and bottom: {error}", file=str(path), field=field
                )
        name = path.relative_to(root).with_suffix(image.suffix)
        yield annotated_image(name.as_posix(), image, prompts, path)


def _prompt(found: Mapping[str, Any]) -> Prompt:
    box = found["bbox"]
    # In OPEX, right and bottom are the last pixels inside the box.
    right, bottom = box["right"] + 1, box["bottom"] + 1
    return box_prompt(box["left"], box["top"], right, bottom, text(found.get("label") or None))
