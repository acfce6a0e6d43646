"""Masks as annotation tools take them: run-length encodings or outlines, out of what the engine renders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from sampoll.core.results import Delivery

BRUSH, EDGES, BORDERS = "tool/brush", "tool/edges", "tool/borders"
"""The kinds of answers: Label Studio's run-length encoding; outlines along the edges of pixels, where pixel x
reaches from x to x + 1; and outlines through the centres of border pixels, which make the mask if filled."""
SUFFIX: Mapping[str, str] = {kind: f".{kind.partition('/')[2]}.json" for kind in (BRUSH, EDGES, BORDERS)}


@dataclass(frozen=True)
class ToolMask:
    """A mask that is not empty: `rle` for BRUSH, otherwise `outlines`, rings of points [x, y] in pixels, one
    for each part."""

    score: float
    rle: Sequence[int] = field(default=(), repr=False)
    outlines: Sequence[Sequence[Sequence[float]]] = field(default=(), repr=False)


@dataclass(frozen=True)
class ToolMasks:
    """`size` is the (H, W) of the image; `masks` has those of each prompt."""

    size: tuple[int, int]
    masks: Sequence[Sequence[ToolMask]]


def tool_masks(delivery: Delivery) -> ToolMasks:
    """The masks in an answer of one of these kinds."""
    [artifact] = delivery.artifacts
    document: dict[str, Any] = orjson.loads(artifact.content)
    height, width = document["size"]
    masks = [[ToolMask(**mask) for mask in of_prompt] for of_prompt in document["masks"]]
    return ToolMasks((height, width), masks)
