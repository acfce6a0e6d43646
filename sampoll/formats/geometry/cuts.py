"""Cuts: straight ways between the rings of a mask, so that one closed line can go through all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sampoll.formats.geometry.contours import Polygon

Indices: TypeAlias = NDArray[np.int64]

SAMPLES = 1024
"""About how many points are compared with each other to find the cuts between parts, and how many parts are
connected at a time."""


@dataclass(frozen=True)
class BorderPixels:
    """The pixels on the rings of a mask's parts: `points`, one ring after the other, and of each part its
    outline first and then its holes. Ring r begins at `ring_starts[r]`, part p at ring `part_starts[p]`; both
    end with the total. `corners` are the points where a ring changes its direction."""

    points: Polygon
    corners: Indices
    ring_starts: Indices
    part_starts: Indices

    @cached_property
    def ring_of(self) -> Indices:
        """For each point the number of its ring."""
        return np.repeat(np.arange(len(self.ring_starts) - 1), np.diff(self.ring_starts))

    @cached_property
    def part_of_ring(self) -> Indices:
        return np.repeat(np.arange(len(self.part_starts) - 1), np.diff(self.part_starts))


def border_pixels(parts: Sequence[Sequence[Polygon]]) -> BorderPixels:
    """All pixels on the rings, whose given points are connected horizontally, vertically or diagonally."""
    rings = [ring for part in parts for ring in part]
    corners = np.concatenate(rings)
    steps = np.concatenate([np.roll(ring, -1, axis=0) - ring for ring in rings])
    lengths = np.maximum(np.abs(steps).max(axis=1), 1)  # that of a single pixel would be 0
    starts = np.concatenate([[0], lengths.cumsum()])
    along = np.arange(starts[-1]) - starts[:-1].repeat(lengths)
    points = corners.repeat(lengths, axis=0) + np.sign(steps).repeat(lengths, axis=0) * along[:, None]
    first_corners = np.cumsum([0, *map(len, rings)])
    return BorderPixels(
        points.astype(np.int32), starts[:-1], starts[first_corners], np.cumsum([0, *map(len, parts)])
    )


def cuts_to_holes(pixels: BorderPixels) -> Indices:
    """Pairs of points, shape (holes, 2): the way from each hole straight up to the next ring of its part.

    Between them are only pixels of the part, and in one column, so that all libraries draw the same ones.
    Above the topmost pixel of a ring are only rings that reach higher, so the ways form no loop.
    """
    ring_of, x, y = pixels.ring_of, pixels.points[:, 0], pixels.points[:, 1]
    tops = np.minimum.reduceat(y, pixels.ring_starts[:-1])
    at_top = np.flatnonzero(y == tops[ring_of])
    topmost = at_top[np.unique(ring_of[at_top], return_index=True)[1]]  # of each ring
    rank = np.empty(len(tops), np.int64)
    rank[np.argsort(tops, kind="stable")] = np.arange(len(tops))  # tells rings that meet in one pixel apart
    downwards = np.lexsort((rank[ring_of], y, x, pixels.part_of_ring[ring_of]))
    place = np.empty(len(downwards), np.int64)
    place[downwards] = np.arange(len(downwards))
    holes = np.delete(topmost, pixels.part_starts[:-1])
    return np.stack([holes, downwards[place[holes] - 1]], axis=1)


def cuts_between_parts(pixels: BorderPixels) -> Indices:
    """Pairs of points, shape (parts - 1, 2): ways that connect all parts over few pixels outside of them."""
    starts = pixels.ring_starts[pixels.part_starts]
    parts, cuts = len(starts) - 1, [np.empty((0, 2), np.int64)]
    for first in range(0, parts - 1, SAMPLES):
        some = starts[first : first + SAMPLES + 2]  # the last part is the first of the next ones
        step = int(-(-(some[-1] - some[0]) // SAMPLES))
        samples = [np.arange(start, end, step) for start, end in pairwise(some)]
        part_of = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
        chosen = np.concatenate(samples)
        cuts.extend(chosen[[cut]] for cut in _shortest_tree(pixels.points[chosen], part_of))
    return np.concatenate(cuts)


def _shortest_tree(points: Polygon, part_of: Indices) -> Iterator[tuple[int, int]]:
    """Pairs of points that connect all parts over as few pixels as can be. Prim (1957)."""
    far = np.iinfo(np.int32).max
    distances, nearest = np.full(len(points), far), np.zeros(len(points), np.int64)
    is_apart = np.ones(len(points), np.bool_)
    newest = 0
    for _ in range(int(part_of[-1])):
        joined = np.flatnonzero(part_of == newest)
        is_apart[joined] = False
        # A straight line has so many pixels as its longer side.
        pixels = np.abs(points[joined, None] - points[None]).max(axis=2)
        closest = pixels.argmin(axis=0)
        found = pixels[closest, np.arange(len(points))]
        is_nearer = found < distances
        distances[is_nearer], nearest[is_nearer] = found[is_nearer], joined[closest[is_nearer]]
        end = int(np.where(is_apart, distances, far).argmin())
        yield int(nearest[end]), end
        newest = int(part_of[end])
