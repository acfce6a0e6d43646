"""What importers read, and the pairs that come of it."""

import json
from pathlib import Path
from typing import Any

from sampoll.core.errors import JobError
from sampoll.inputs.check import Checked, check_prompts
from sampoll.inputs.importers.base import AnnotatedImage
from sampoll.inputs.importers.registry import load_importer
from sampoll.inputs.importers.write_pairs import Imported, write_pairs
from sampoll.inputs.options import DecodingOptions
from support.images import encoded, image_of

IMAGE = encoded(image_of())
YOLO_LINE = "0 0.5 0.5 0.5 0.5\n"


def imported(importer: str, source: Path) -> list[str]:
    """The names of the images that have pairs now, and the errors; what is written can be run."""
    target = source.parent / "pairs"
    outcomes = list(
        write_pairs(load_importer(importer)(source, None), target, DecodingOptions(), copies=False)
    )
    written = [outcome.name for outcome in outcomes if isinstance(outcome, Imported) and outcome.prompts]
    checked = list(check_prompts([target], DecodingOptions())) if written else []
    assert all(isinstance(one, Checked) and one.image for one in checked)
    assert len(checked) == len(written)
    return [*written, *(str(outcome) for outcome in outcomes if isinstance(outcome, JobError))]


def annotated(importer: str, source: Path, images: Path | None = None) -> list[AnnotatedImage]:
    """What an importer reads, which must be images without an error."""
    found = list(load_importer(importer)(source, images))
    assert all(isinstance(image, AnnotatedImage) for image in found), found
    return [image for image in found if isinstance(image, AnnotatedImage)]


def deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def coco(folder: Path, image: dict[str, Any], annotation: Any, **more: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(IMAGE)
    images = [{"id": 1, "file_name": "a.png", **image}]
    if isinstance(annotation, dict):
        annotation = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], **annotation}
    path = folder / "coco.json"
    path.write_text(json.dumps({"images": images, "annotations": [annotation], **more}))
    return path


Outcome = tuple[list[dict[str, Any]], list[str]]


def yolo(folder: Path, names: str) -> Path:
    folder.mkdir()
    (folder / "a.png").write_bytes(IMAGE)
    (folder / "a.txt").write_text(YOLO_LINE)
    (folder / "data.yaml").write_text(names)
    return folder
