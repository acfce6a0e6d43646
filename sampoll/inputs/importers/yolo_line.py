"""A line of YOLO labels as a prompt. The number of its numbers tells what it is.

https://docs.ultralytics.com/datasets/
"""

from collections.abc import Sequence

import numpy as np

from sampoll.core.jobs import Point, Prompt
from sampoll.inputs.importers.base import Size, box_prompt, number
from sampoll.inputs.importers.yolo_classes import Classes

TOLERANCE = 0.01
"""How far outside the image a keypoint may lie to be one at its edge, as for Ultralytics."""
LOWEST, HIGHEST = -0.5, 1.5
"""No shares of an image's sides are beyond these: boxes may extend over its edge a little."""


def prompt_of(words: Sequence[str], size: Size, classes: Classes | None) -> Prompt:
    """The prompt of a line for an image of this size; ValueError if it is none.

    A box, or a box and the keypoints that are labelled; polygons and oriented boxes become the box around
    them. A further number at the end is a confidence or the id of a track, and is not used.
    """
    class_number = _class_number(words[0])
    label = classes.label(class_number) if classes else str(class_number)
    values = [number(word) for word in words[1:]]
    if classes and classes.keypoints:
        count, each = classes.keypoints
        if len(values) - 4 in (count * each, count * each + 1):
            return _pose(values, each, size, label)
        if len(values) not in (4, 5):
            raise ValueError(
                f"must be a class, x y width height, and {count} keypoints of {each} numbers (kpt_shape)"
            )
    if len(values) in (4, 5):
        return _box(values, size, label)
    if len(values) < 6:
        raise ValueError("must be a class and x y width height, or a class and x y x y x y …")
    if _looks_like_pose(values):
        raise ValueError("looks like a pose, not like a polygon: data.yaml must have its kpt_shape")
    return _polygon(values, size, label)


def _class_number(word: str) -> int:
    value = number(word)
    if not (value.is_integer() and value >= 0):
        raise ValueError(f"the class must be a whole number, got {word}")
    return int(value)


def _box(values: Sequence[float], size: Size, label: str) -> Prompt:
    x, y, w, h = _shares(values[:4])
    _check_rest(values[4:])
    if w <= 0 or h <= 0:
        raise ValueError(f"width and height must be more than 0, got {w:g} and {h:g}")
    height, width = size
    return box_prompt(
        (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height, label
    )


def _polygon(values: Sequence[float], size: Size, label: str) -> Prompt:
    even = len(values) // 2 * 2
    _check_rest(values[even:])
    height, width = size
    corners = np.array(_shares(values[:even])).reshape(-1, 2) * (width, height)
    low, high = corners.min(axis=0), corners.max(axis=0)
    # A line or a point through the centres of pixels: they are one pixel wide.
    flat = np.where(low == high, 0.5, 0)
    (x0, y0), (x1, y1) = (low - flat).tolist(), (high + flat).tolist()
    return box_prompt(x0, y0, x1, y1, label)


def _looks_like_pose(values: Sequence[float]) -> bool:
    """Whether a box is followed by keypoints inside it that have a visibility of 0, 1 or 2."""
    if len(values) % 3 != 1:
        return False
    x, y, w, h = values[:4]
    keypoints = np.array(values[4:]).reshape(-1, 3)
    labelled = keypoints[keypoints[:, 2] != 0]
    is_inside = np.abs(labelled[:, :2] - (x, y)) <= (w / 2, h / 2)
    return bool(len(labelled) and np.isin(labelled[:, 2], (1, 2)).all() and is_inside.all())


def _pose(values: Sequence[float], each: int, size: Size, label: str) -> Prompt:
    count = (len(values) - 4) // each
    box = _box(values[:4], size, label).box
    keypoints = np.array(values[4 : 4 + count * each]).reshape(count, each)
    points = [_point(keypoint, size) for keypoint in keypoints.tolist() if _is_labelled(keypoint)]
    return Prompt(points=tuple(points), box=box, label=label)


def _is_labelled(keypoint: Sequence[float]) -> bool:
    """Those that are not have a visibility of 0 or, without one, negative coordinates, or are at (0, 0)."""
    x, y, *visibility = keypoint
    return (x, y) != (0, 0) and (visibility[0] != 0 if visibility else min(x, y) >= 0)


def _point(keypoint: Sequence[float], size: Size) -> Point:
    height, width = size
    x, y = _shares(keypoint[:2])
    return Point(_inside(x, width), _inside(y, height), 1)


def _inside(share: float, pixels: int) -> float:
    """The place of a keypoint; one on the edge, or beside it within TOLERANCE, is moved into the image."""
    place = share * pixels
    if -TOLERANCE <= share < 0:
        return 0.0
    return pixels - 0.5 if pixels <= place <= (1 + TOLERANCE) * pixels else place


def _shares(values: Sequence[float]) -> Sequence[float]:
    """The values, if they can be shares of width and height. What extends over the image's edge can be."""
    for value in values:
        if not LOWEST <= value <= HIGHEST:
            raise ValueError(f"must be shares of the image's width and height, from 0 to 1, got {value:g}")
    return values


def _check_rest(rest: Sequence[float]) -> None:
    for value in rest:
        if not (0 <= value <= 1 or (value > 0 and value.is_integer())):
            raise ValueError(
                f"the last number must be a confidence from 0 to 1, or a whole number, got {value:g}"
            )
