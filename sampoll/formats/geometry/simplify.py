"""Fewer points for an outline, within a stated distance of it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[Any]
"""Shape (N, 2): x and y."""


def simplified(ring: Points, tolerance: float) -> Points:
    """A closed ring with fewer points, or all of them if `tolerance` is 0. No point of `ring` is farther than
    `tolerance` from the result, which has at least three points if `ring` has.

    Douglas and Peucker (1973), between the first point and the one farthest from it. cv2.approxPolyDP, which
    does the same, cleans up afterwards, and is then up to 1.4 tolerances off.
    """
    return ring[kept_points(ring, tolerance)]


def coarser(ring: Sequence[Sequence[float]], share: float) -> list[list[float]]:
    """The points of a ring, simplified with this share of its length as the tolerance."""
    points = np.array(ring, np.float64)
    length = np.hypot(*np.diff(points, axis=0, append=points[:1]).T).sum()
    return cast(list[list[float]], simplified(points, share * float(length)).tolist())


def kept_points(ring: Points, tolerance: float, anchors: Sequence[int] = ()) -> NDArray[np.int64]:
    """The indices of the points of the simplified ring, in their order; `anchors` are among them."""
    if tolerance <= 0 or len(ring) <= 3:
        return np.arange(len(ring))
    opposite = int(np.argmax(_distances(ring, ring[0], ring[0])))
    closed = np.concatenate([ring, ring[:1]])
    kept = {0, opposite, *map(int, anchors)}
    pending = list(pairwise([*sorted(kept), len(ring)]))
    while pending:
        start, end = pending.pop()
        between = closed[start + 1 : end]
        if len(between) == 0:
            continue
        distances = _distances(between, closed[start], closed[end])
        farthest = int(np.argmax(distances))
        if distances[farthest] > tolerance:
            middle = start + 1 + farthest
            kept.add(middle)
            pending += [(start, middle), (middle, end)]
    if len(kept) == 2:
        kept.add(int(np.argmax(_distances(ring, ring[0], ring[opposite]))))
    return np.array(sorted(kept))


def _distances(points: Points, start: Points, end: Points) -> NDArray[np.float64]:
    """Of each point to the straight line between two others, ends included."""
    along = (end - start).astype(np.float64)
    relative = points - start
    squared_length = along @ along
    share = np.clip(relative @ along / squared_length, 0, 1) if squared_length else np.zeros(len(points))
    distances: NDArray[np.float64] = np.hypot(*(relative - share[:, None] * along).T)
    return distances
