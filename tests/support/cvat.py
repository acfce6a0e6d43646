"""A task as CVAT exports it: format "COCO 1.0", with images, unpacked."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LABELS = ("person", "cup")
CUP = 2
"""The category of the label "cup"."""
ATTRIBUTES = {"occluded": False, "rotation": 0.0}

BOX = {"segmentation": [], "area": 200.0, "bbox": [4.0, 4.0, 20.0, 10.0], "iscrowd": 0}


def write_task(
    directory: Path,
    image_file: str,
    image: bytes,
    size: tuple[int, int],
    shapes: Sequence[Mapping[str, Any]] = (BOX,),
) -> None:
    """One image of `size` (height, width), with these shapes, each a cup."""
    (directory / "images" / "default").mkdir(parents=True)
    (directory / "images" / "default" / image_file).write_bytes(image)
    height, width = size
    document = {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {
            "contributor": "",
            "date_created": "",
            "description": "",
            "url": "",
            "version": "",
            "year": "",
        },
        "categories": [
            {"id": id, "name": name, "supercategory": ""} for id, name in enumerate(LABELS, start=1)
        ],
        "images": [
            {
                "id": 1,
                "width": width,
                "height": height,
                "file_name": image_file,
                "license": 0,
                "flickr_url": "",
                "coco_url": "",
                "date_captured": 0,
            }
        ],
        "annotations": [
            {"id": id, "image_id": 1, "category_id": CUP, **shape, "attributes": ATTRIBUTES}
            for id, shape in enumerate(shapes, start=1)
        ],
    }
    (directory / "annotations").mkdir()
    (directory / "annotations" / "instances_default.json").write_text(json.dumps(document))
