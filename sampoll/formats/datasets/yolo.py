"""YOLO segmentation: yolo/labels/NAME.txt for each result, and yolo/data.yaml.

https://docs.ultralytics.com/datasets/segment/
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from sampoll.core.errors import OutputFailed
from sampoll.core.protocols import Results
from sampoll.core.results import Mask, Segmentation
from sampoll.files.file_set import replaced_set
from sampoll.formats.geometry.contours import Polygon, rings_of_parts
from sampoll.formats.geometry.rings import one_ring
from sampoll.formats.options import FormatOptions

LABELS = "labels"
IN_PIXEL = 0.49
"""Where a point lies in its pixel: just before the middle, so that readers that drop fractions (Ultralytics)
and readers that round (supervision) both get that pixel, in images of up to 60,000 pixels a side."""


class Yolo:
    """One line a mask: its class, and a polygon through its border pixels, as shares of width and height.

    Detached parts and holes are reached by cuts.
    """

    folder = "yolo"

    def __init__(self, options: FormatOptions) -> None:
        self._options = options

    def write(self, results: Results, directory: Path) -> None:
        classes = {label: number for number, label in enumerate(results.labels)}
        with replaced_set(directory, belongs=_is_label_file) as files:
            for segmentation in results:
                lines = "".join(self._lines(segmentation, classes))
                # Not printable(): readers find the labels of an image by its name.
                files.write(f"{LABELS}/{segmentation.name}.txt", lines.encode("ascii"))
            files.write("data.yaml", _data_yaml(results.labels))

    def _lines(self, segmentation: Segmentation, classes: dict[str, int]) -> Iterator[str]:
        height, width = segmentation.size
        for prompt, masks in zip(segmentation.prompts, segmentation.masks, strict=True):
            for mask in masks:
                if mask.box is not None:
                    places = ((self._polygon(mask) + IN_PIXEL) / (width, height)).ravel()
                    yield f"{classes[prompt.label]} {' '.join(f'{place:.7f}' for place in places)}\n"

    def _polygon(self, mask: Mask) -> Polygon:
        return one_ring(list(rings_of_parts(mask)), self._options.simplify_pixels)


def _data_yaml(labels: Sequence[str]) -> bytes:
    """Images belong into images/, beside labels/."""
    document = {"train": "images", "val": "images", "names": dict(enumerate(labels))}
    # Unescaped, some invisible characters are line breaks in YAML, and readers remove others.
    is_readable = all(label.isprintable() for label in labels)
    written = yaml.safe_dump(document, allow_unicode=is_readable, sort_keys=False).encode()
    if yaml.safe_load(written) != document:
        raise OutputFailed("the labels cannot be written as YAML", file="data.yaml")
    return written


def _is_label_file(path: str) -> bool:
    """A reader takes every one for labels of the classes in data.yaml."""
    return path.startswith(f"{LABELS}/") and path.endswith(".txt")
