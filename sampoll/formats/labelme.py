"""LabelMe annotations: labelme/NAME.json.

https://github.com/wkentaro/labelme
"""

import posixpath
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from sampoll.core.names import folder_of, kept_image, unicode_name
from sampoll.core.results import Artifact, Mask, Segmentation
from sampoll.formats.geometry.contours import rings_of_parts
from sampoll.formats.geometry.rings import one_ring
from sampoll.formats.json_document import json_document
from sampoll.formats.options import FormatOptions

LABELME_VERSION = "5.5.0"
"""The LabelMe version whose file format this is; LabelMe warns of files of another major version."""


class LabelMe:
    """One polygon for each connected part of each mask; those of one mask share a `group_id`.

    A hole is part of its polygon, reached by a cut. `imagePath` is where the image is kept, relative to the
    file.
    """

    def __init__(self, options: FormatOptions) -> None:
        self._options = options

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        return ["labelme/.json"]

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        height, width = segmentation.size
        document: dict[str, Any] = {
            "version": LABELME_VERSION,
            "flags": {},
            "shapes": list(self._shapes(segmentation)),
            "imagePath": self._image_path(segmentation),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        return [Artifact("labelme/.json", json_document(document, len(document["shapes"])))]

    def _image_path(self, segmentation: Segmentation) -> str:
        image = kept_image(segmentation.name, segmentation.image_file)
        if self._options.kept_images is None:
            return unicode_name(posixpath.basename(image))
        folder = posixpath.join("labelme", folder_of(segmentation.name))
        return unicode_name(posixpath.relpath(posixpath.join(self._options.kept_images, image), folder))

    def _shapes(self, segmentation: Segmentation) -> Iterator[dict[str, Any]]:
        groups = count(1)
        for prompt, masks in zip(segmentation.prompts, segmentation.masks, strict=True):
            for mask in masks:
                yield from self._shapes_of(mask, prompt.label, next(groups))

    def _shapes_of(self, mask: Mask, label: str, group: int) -> Iterator[dict[str, Any]]:
        for rings in rings_of_parts(mask):
            yield {
                "label": label,
                "points": one_ring([rings], self._options.simplify_pixels),
                "group_id": group,
                "description": f"score {mask.score:.3f}",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
