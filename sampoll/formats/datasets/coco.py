"""COCO: coco/instances.json with every mask of every result.

https://cocodataset.org/#format-data
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from pycocotools import mask as coco

from sampoll.core.names import unicode_name
from sampoll.core.protocols import Results
from sampoll.core.results import Mask, Segmentation
from sampoll.files.file_set import replaced_set
from sampoll.formats.geometry.edges import edge_polygons
from sampoll.formats.geometry.rle import rle_of
from sampoll.formats.options import FormatOptions


class Coco:
    """Masks as run-length encodings, which are exact; as polygons, which have no holes, only if asked for."""

    folder = "coco"

    def __init__(self, options: FormatOptions) -> None:
        self._options = options

    def write(self, results: Results, directory: Path) -> None:
        categories = {label: number for number, label in enumerate(results.labels, start=1)}
        images: list[dict[str, Any]] = []
        with replaced_set(directory) as files, files.open("instances.json") as file:
            info = {"description": "sampoll", "date_created": datetime.now().isoformat(timespec="seconds")}
            # Roboflow's client refuses a file without "licenses".
            file.write(b'{"info":' + orjson.dumps(info) + b',"licenses":[],\n"annotations":[')
            number = 0
            for segmentation in results:
                images.append(_image(segmentation, len(images) + 1))
                for annotation in self._annotations(segmentation, categories):
                    ids = {"id": number + 1, "image_id": len(images)}
                    file.write((b",\n" if number else b"\n") + orjson.dumps({**ids, **annotation}))
                    number += 1
            listed = [{"id": number, "name": label} for label, number in categories.items()]
            file.write(b'\n],\n"images":' + orjson.dumps(images))
            file.write(b',\n"categories":' + orjson.dumps(listed) + b"}\n")

    def _annotations(
        self, segmentation: Segmentation, categories: dict[str, int]
    ) -> Iterator[dict[str, Any]]:
        for prompt, masks in zip(segmentation.prompts, segmentation.masks, strict=True):
            for mask in masks:
                if mask.box is not None:
                    yield {
                        "category_id": categories[prompt.label],
                        **(self._polygons(mask) if self._options.polygons else _exact(mask)),
                        "iscrowd": 0,
                        "score": mask.score,
                    }

    def _polygons(self, mask: Mask) -> dict[str, Any]:
        """The outlines, with the area that pycocotools finds for them. It fills few pixels of thin ones, so
        the box is around their points."""
        outlines = list(edge_polygons(mask, self._options.simplify_pixels))
        polygons = [outline.astype(np.float64).ravel().tolist() for outline in outlines]
        points = np.concatenate(outlines).astype(np.float64)
        low, high = points.min(axis=0), points.max(axis=0)
        filled = coco.merge(coco.frPyObjects(polygons, *mask.size))
        return {
            "segmentation": polygons,
            "area": float(coco.area(filled)),
            "bbox": [*low.tolist(), *(high - low).tolist()],
        }


def _image(segmentation: Segmentation, number: int) -> dict[str, Any]:
    height, width = segmentation.size
    file_name = unicode_name(segmentation.kept_image)
    return {"id": number, "file_name": file_name, "width": width, "height": height}


def _exact(mask: Mask) -> dict[str, Any]:
    box = mask.box
    assert box is not None
    extent = [box.right - box.left + 1, box.bottom - box.top + 1]
    return {
        "segmentation": rle_of(mask),
        "area": float(mask.area),
        "bbox": [float(side) for side in (box.left, box.top, *extent)],
    }
