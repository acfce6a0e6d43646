"""YOLO segmentation: yolo/labels/NAME.txt for each result, and yolo/data.yaml.

https://docs.ultralytics.com/datasets/segment/
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from sampoll.core.names import printable
from sampoll.core.protocols import Results
from sampoll.core.results import Mask, Segmentation
from sampoll.files.atomic import replace_file
from sampoll.formats.geometry.contours import Polygon, at_least_three, rings_of_parts
from sampoll.formats.geometry.rings import joined
from sampoll.formats.geometry.simplify import simplified
from sampoll.formats.options import FormatOptions


class Yolo:
    """One line a mask: its class, and a polygon through the centres of pixels, as shares of width and height.

    Detached parts and holes are reached by cuts.
    """

    folder = "yolo"

    def __init__(self, options: FormatOptions) -> None:
        self._options = options

    def write(self, results: Results, directory: Path) -> None:
        classes = {label: number for number, label in enumerate(results.labels)}
        for segmentation in results:
            lines = "".join(self._lines(segmentation, classes))
            path = directory / "labels" / f"{printable(segmentation.name)}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, lines.encode("ascii"))
        directory.mkdir(parents=True, exist_ok=True)
        replace_file(directory / "data.yaml", _data_yaml(results.labels))

    def _lines(self, segmentation: Segmentation, classes: dict[str, int]) -> Iterator[str]:
        height, width = segmentation.size
        for prompt, masks in zip(segmentation.prompts, segmentation.masks, strict=True):
            for mask in masks:
                if mask.box is not None:
                    places = ((self._polygon(mask) + 0.5) / (width, height)).ravel()
                    yield f"{classes[prompt.label]} {' '.join(f'{place:.6f}' for place in places)}\n"

    def _polygon(self, mask: Mask) -> Polygon:
        rings = [ring for rings in rings_of_parts(mask) for ring in rings]
        return at_least_three(joined([simplified(ring, self._options.simplify_pixels) for ring in rings]))


def _data_yaml(labels: Sequence[str]) -> bytes:
    """Images belong into images/, beside labels/."""
    document = {"train": "images", "val": "images", "names": dict(enumerate(labels))}
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False).encode()
