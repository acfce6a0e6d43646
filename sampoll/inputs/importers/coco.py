"""COCO: boxes of annotations, or their keypoints where they have no box.

https://cocodataset.org/#format-data
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sampoll.core.errors import BadPrompt, InputUnavailable
from sampoll.core.jobs import Point, Prompt
from sampoll.inputs.importers.base import AnnotatedImage, box_prompt, image_name, json_of, named, number, text

NOT_LABELED = 0
"""The visibility value of a keypoint that is not labeled."""


def read(source: Path, images: Path | None) -> Iterator[AnnotatedImage | BadPrompt]:
    """Reads an instances file; images are in its own folder unless `images` is given. Annotations with
    `iscrowd` are skipped: their boxes do not enclose a single object."""
    document = json_of(source)
    listed, annotations = (_list(document, key, source) for key in ("images", "annotations"))
    try:
        labels = {text(c.get("id")): text(c.get("name")) for c in _objects(document.get("categories"))}
    except ValueError as error:
        raise InputUnavailable(f"{source}: categories: id and name {error}") from error
    by_image: dict[str, list[Prompt]] = {}
    for index, annotation in enumerate(annotations):
        try:
            if not isinstance(annotation, dict):
                raise ValueError("must be a JSON object")
            if not annotation.get("iscrowd"):
                prompt = _prompt(annotation, labels)
                by_image.setdefault(text(annotation.get("image_id")), []).append(prompt)
        except ValueError as error:
            yield BadPrompt(str(error), file=str(source), field=f"annotations[{index}]")
    for index, image in enumerate(listed):
        try:
            prompts = by_image.get(text(image.get("id"))) if isinstance(image, dict) else None
            name = image_name(text(image.get("file_name"))) if prompts else ""
        except ValueError as error:
            yield BadPrompt(str(error), file=str(source), field=f"images[{index}].file_name")
            continue
        if prompts:
            yield AnnotatedImage(name, (images or source.parent) / name, tuple(prompts))


def _list(document: Any, key: str, source: Path) -> list[Any]:
    found = document.get(key) if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise InputUnavailable(f'{source} is no COCO file: it has no list of "{key}"')
    return found


def _objects(values: Any) -> Iterator[Mapping[str, Any]]:
    return (value for value in (values if isinstance(values, list) else ()) if isinstance(value, dict))


def _prompt(annotation: Mapping[str, Any], labels: Mapping[str, str]) -> Prompt:
    label = labels.get(text(annotation.get("category_id")), "")
    id = None if annotation.get("id") is None else text(annotation["id"])
    box, keypoints = annotation.get("bbox"), annotation.get("keypoints")
    if isinstance(box, list) and len(box) == 4:
        x, y, width, height = map(number, box)
        return box_prompt(x, y, x + width, y + height, label, id)
    if isinstance(keypoints, list) and len(keypoints) % 3 == 0 and box is None:
        triples = zip(*[iter(map(number, keypoints))] * 3, strict=True)
        points = tuple(Point(x, y, 1) for x, y, visibility in triples if visibility != NOT_LABELED)
        if points:
            return Prompt(points=points, **named(label, id))
    raise ValueError("bbox must be [x, y, width, height]; without one, keypoints must be [x, y, v, ...]")
