"""What answers for annotation tools consist of: the masks of each prompt, as the tools take them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sampoll.core.protocols import Format
from sampoll.core.results import Artifact, Mask, Segmentation
from sampoll.formats.geometry.brush_rle import brush_rle
from sampoll.formats.geometry.contours import outer_contours
from sampoll.formats.geometry.edges import edge_polygons
from sampoll.transports.http.tool_masks import BORDERS, BRUSH, EDGES, SUFFIX

LEAST_SIMPLIFIED = 1.0
"""Outlines that are to be edited by hand have a point at each pixel of a slanted edge otherwise."""


def tool_formats(simplify_pixels: float) -> Mapping[str, Sequence[Format]]:
    """What is rendered for each kind of these answers."""
    simplify = max(simplify_pixels, LEAST_SIMPLIFIED)
    shapes: Mapping[str, Callable[[Mask], dict[str, Any]]] = {
        BRUSH: lambda mask: {"rle": list(brush_rle(mask))},
        EDGES: lambda mask: {"outlines": list(edge_polygons(mask, simplify))},
        BORDERS: lambda mask: {"outlines": [each.polygon for each in outer_contours(mask, simplify_pixels)]},
    }
    return {kind: [_ToolMasks(SUFFIX[kind], shape)] for kind, shape in shapes.items()}


@dataclass(frozen=True)
class _ToolMasks:
    """A document with the masks of each prompt that are not empty. One that is skipped has none."""

    suffix: str
    shape: Callable[[Mask], Mapping[str, Any]]

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        return [self.suffix]

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        masks = [list(self._described(each)) for each in segmentation.in_file_order(segmentation.masks, ())]
        document = {"size": segmentation.size, "masks": masks}
        return [Artifact(self.suffix, orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))]

    def _described(self, masks: Sequence[Mask]) -> Iterator[Mapping[str, Any]]:
        for mask in masks:
            if mask.box is not None:
                yield {"score": mask.score, **self.shape(mask)}
