"""OPEX: the boxes of the objects.

https://github.com/WaikatoLink2020/objdet-predictions-exchange-format
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sampoll.core.errors import BadPrompt
from sampoll.core.jobs import Prompt
from sampoll.inputs.importers.base import AnnotatedImage, box_prompt, documents_of, image_beside, text


def read(source: Path, images: Path | None) -> Iterator[AnnotatedImage | BadPrompt]:
    """Reads a file or a folder of files; the image of NAME.json is NAME beside it, or below `images`."""
    root = source if source.is_dir() else source.parent
    for read_one in documents_of(source, "OPEX", "objects"):
        if isinstance(read_one, BadPrompt):
            yield read_one
            continue
        path, document = read_one
        place = path if images is None else images / path.relative_to(root)
        image = image_beside(place)
        if image is None:
            yield BadPrompt(f"has no image {place.stem} in {place.parent}", file=str(path))
            continue
        prompts = []
        for index, found in enumerate(document["objects"]):
            try:
                prompts.append(_prompt(found))
            except (ValueError, TypeError, KeyError) as error:
                yield BadPrompt(
                    f"must have a bbox with left, top, right and bottom: {error}",
                    file=str(path),
                    field=f"objects[{index}]",
                )
        if prompts:
            name = path.relative_to(root).with_suffix(image.suffix)
            yield AnnotatedImage(name.as_posix(), image, tuple(prompts))


def _prompt(found: Mapping[str, Any]) -> Prompt:
    box = found["bbox"]
    # In OPEX, right and bottom are the last pixels inside the box.
    right, bottom = box["right"] + 1, box["bottom"] + 1
    return box_prompt(box["left"], box["top"], right, bottom, text(found.get("label") or None))
