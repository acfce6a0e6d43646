"""Masks as regions of Label Studio."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sampoll.transports.http.label_studio.label_config import Control
from sampoll.transports.http.label_studio.tasks import AskedImage
from sampoll.transports.http.tool_masks import ToolMask, ToolMasks

DIGITS = 6
"""Of a share in per cent: less than a hundredth of a pixel in any image."""


def regions_of(masks: ToolMasks, asked: AskedImage, control: Control) -> Iterator[Mapping[str, Any]]:
    """The regions for one image: a brush for each mask, or a polygon for each of its parts."""
    height, width = masks.size
    common: dict[str, Any] = {
        "from_name": control.name,
        "to_name": asked.to_name,
        "type": control.kind,
        "original_width": width,
        "original_height": height,
        "image_rotation": asked.rotation,
    }
    if asked.item_index is not None:
        common["item_index"] = asked.item_index
    for prompt, of_prompt in zip(asked.prompts, masks.masks, strict=True):
        labels = control.labels_of(prompt.label)
        for mask in of_prompt:
            for shape in _shapes(mask, masks.size, control):
                region_id = uuid.uuid4().hex[:10]
                yield {"id": region_id, **common, "value": {**shape, **labels}, "score": _share(mask.score)}


def score_of(regions: Sequence[Mapping[str, Any]]) -> float:
    """The mean score of regions; 0 if there are none."""
    scores: list[float] = [each["score"] for each in regions]
    return sum(scores) / len(scores) if scores else 0.0


def _shapes(mask: ToolMask, size: tuple[int, int], control: Control) -> Iterator[Mapping[str, Any]]:
    height, width = size
    if control.is_brush:
        yield {"format": "rle", "rle": mask.rle}
    for ring in mask.outlines:
        points = [[round(100 * x / width, DIGITS), round(100 * y / height, DIGITS)] for x, y in ring]
        yield {"points": points, "closed": True}


def _share(score: float) -> float:
    """A score as Label Studio takes it: 0 to 1."""
    return min(max(score, 0.0), 1.0)
