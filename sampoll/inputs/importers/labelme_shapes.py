"""The shapes of a LabelMe file as prompts: one for each object."""

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampoll.config.settings.limits import LimitSettings
from sampoll.core import base64_text
from sampoll.core.errors import BadImage
from sampoll.core.jobs import Box, Point, Prompt
from sampoll.inputs.decode import decode_image
from sampoll.inputs.importers.base import Size, named, number, text, whole_number

MAX_MASK_PIXELS = LimitSettings().max_pixels


@dataclass(frozen=True)
class Shape:
    """What a shape adds to the prompt of its object: points, or corners that its box encloses."""

    label: str
    group: str | None
    points: Sequence[Point]
    corners: NDArray[np.float64]  # (N, 2)


def shape_of(document: Any) -> Shape:
    """ValueError if it is none that LabelMe writes."""
    if not isinstance(document, dict):
        raise ValueError("must be a JSON object")
    kind = text(document.get("shape_type")) or "polygon"
    if kind not in _RULES:
        raise ValueError(f"shape_type must be one of {', '.join(_RULES)}, got {reprlib.repr(kind)}")
    rule, places = _RULES[kind], _places(document.get("points"))
    if not rule.least <= len(places) <= rule.most:
        raise ValueError(f"a {kind} must have {rule.wants}, got {len(places)} points")
    group = document.get("group_id")
    return Shape(
        text(document.get("label")),
        None if group is None else text(group),
        [] if rule.corners else [Point(x, y, 1) for x, y in places.tolist()],
        rule.corners(places, document) if rule.corners else np.empty((0, 2)),
    )


def prompt_of(shapes: Sequence[Shape], size: Size | None) -> Prompt:
    """The prompt for the shapes of one object. A side of its box that has no extent becomes that of the pixel
    in which it lies, in an image of this size: LabelMe counts the border of a shape to it."""
    corners = np.concatenate([shape.corners for shape in shapes])
    box = None
    if len(corners):
        (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        height, width = size or (math.inf, math.inf)
        (x0, x1), (y0, y1) = _with_extent(x0, x1, width), _with_extent(y0, y1, height)
        box = Box(x0, y0, x1, y1)
    points = tuple(point for shape in shapes for point in shape.points)
    return Prompt(points=points, box=box, **named(shapes[0].label, None))


def _with_extent(low: float, high: float, end: float) -> tuple[float, float]:
    if low != high or math.isinf(low):
        return low, high
    pixel = float(math.floor(low) - (low == end))
    return pixel, pixel + 1


def _places(points: Any) -> NDArray[np.float64]:
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise ValueError("points must be a list of [x, y]")
    return np.array([[number(x), number(y)] for x, y in points]).reshape(-1, 2)


def _around(places: NDArray[np.float64], _: Mapping[str, Any]) -> NDArray[np.float64]:
    return places


def _around_circle(places: NDArray[np.float64], _: Mapping[str, Any]) -> NDArray[np.float64]:
    centre, on_it = places
    radius = float(np.hypot(*(on_it - centre)))
    return np.stack([centre - radius, centre + radius])


def _around_mask(places: NDArray[np.float64], shape: Mapping[str, Any]) -> NDArray[np.float64]:
    """The edges of its pixels. Its points are the first and the last pixel of the image in base64."""
    (left, top), (right, bottom) = [[whole_number(x), whole_number(y)] for x, y in places.tolist()]
    try:
        content = base64_text.decoded(text(shape.get("mask")))
        pixels = decode_image(content, "", MAX_MASK_PIXELS, exif="ignore").max(axis=2) > 0
    except (ValueError, BadImage) as error:
        raise ValueError(f"mask must be a PNG in base64: {error}") from error
    height, width = pixels.shape
    if (width, height) != (right - left + 1, bottom - top + 1):
        raise ValueError(f"mask has {width}x{height} pixels, which its points do not enclose")
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        raise ValueError("mask has no pixel on the object")
    return np.array(
        [[left + columns[0], top + rows[0]], [left + columns[-1] + 1, top + rows[-1] + 1]], np.float64
    )


@dataclass(frozen=True)
class _Rule:
    """How many points a shape has, in numbers and in words, and the corners that boxes enclose; None for
    points."""

    least: int
    most: float
    wants: str
    corners: Callable[[NDArray[np.float64], Mapping[str, Any]], NDArray[np.float64]] | None = _around


_RULES: Mapping[str, _Rule] = {
    "polygon": _Rule(3, math.inf, "3 points or more"),
    "rectangle": _Rule(2, 4, "2 opposite corners"),
    "oriented_rectangle": _Rule(4, 4, "4 corners"),
    "rotation": _Rule(4, 4, "4 corners"),  # as X-AnyLabeling calls it
    "circle": _Rule(2, 2, "2 points, its centre and one on its line", _around_circle),
    "line": _Rule(2, 2, "2 ends"),
    "linestrip": _Rule(2, math.inf, "2 points or more"),
    "point": _Rule(1, 1, "1 point", None),
    "points": _Rule(1, math.inf, "1 point or more", None),
    "mask": _Rule(2, 2, "2 opposite corners", _around_mask),
}
