"""Outlines for formats that have one closed line an object."""

from collections.abc import Iterator, Sequence

import numpy as np

from sampoll.formats.geometry.contours import Polygon, at_least_three
from sampoll.formats.geometry.cuts import (
    BorderPixels,
    Indices,
    border_pixels,
    cuts_between_parts,
    cuts_to_holes,
)
from sampoll.formats.geometry.simplify import kept_points, simplified


def one_ring(parts: Sequence[Sequence[Polygon]], simplify_pixels: float = 0.0) -> Polygon:
    """One closed line of at least three points through the outlines of all parts and of their holes. Between
    them are cuts, which it follows in both directions. `parts` are those of `rings_of_parts`.

    Filled by the even-odd rule, with its border, it gives the pixels of the parts, and besides only the cuts
    between parts, which are one pixel wide. With `simplify_pixels`, points are left out, but no end of a cut.
    """
    if len(parts) == 1 and len(parts[0]) == 1:
        return at_least_three(simplified(parts[0][0], simplify_pixels))
    pixels = border_pixels(parts)
    cuts = np.concatenate([cuts_to_holes(pixels), cuts_between_parts(pixels)])
    whole = pixels.points[np.concatenate(list(_Line(pixels, cuts, simplify_pixels).pieces()))]
    is_new = np.append(True, (whole[1:] != whole[:-1]).any(axis=1))
    return at_least_three(whole[is_new][:-1])  # it ends where it began


class _Line:
    """The way along all rings and cuts; all points are indices into those of the border."""

    def __init__(self, border: BorderPixels, cuts: Indices, simplify_pixels: float) -> None:
        ends = np.concatenate([cuts, cuts[:, ::-1]])
        self._ends = ends[np.argsort(ends[:, 0])]  # of each cut both, and where it leads from there
        self._needed = np.union1d(border.corners, ends[:, 0])
        self._places = np.searchsorted(self._needed, self._ends[:, 0])
        self._ring_of = border.ring_of
        self._points = border.points
        self._first_needed = np.searchsorted(self._needed, border.ring_starts)
        self._first_end = np.searchsorted(self._ends[:, 0], border.ring_starts)
        self._simplify_pixels = simplify_pixels
        self._is_visited = np.zeros(len(border.ring_starts) - 1, np.bool_)

    def pieces(self) -> Iterator[Indices]:
        """The points of the line, up to the end of a cut at a time; the first is also the last."""
        rings = [self._enter(0)]
        while rings:
            around, stops, begun = rings.pop()
            for stop, target in stops:
                if not self._is_visited[self._ring_of[target]]:
                    yield around[begun : stop + 1]
                    rings += [(around, stops, stop), self._enter(target)]
                    break
            else:
                yield around[begun:]

    def _enter(self, point: int) -> tuple[Indices, Iterator[tuple[int, int]], int]:
        """The points of a ring from this one around to it again; the ends of cuts on the way, each as its
        place in them and the point where the cut leads; and how far the line has followed it."""
        ring = self._ring_of[point]
        self._is_visited[ring] = True
        first, last = self._first_needed[ring : ring + 2]
        ends = slice(*self._first_end[ring : ring + 2])
        points, places = self._needed[first:last], self._places[ends] - first
        if self._simplify_pixels > 0:
            kept = kept_points(self._points[points], self._simplify_pixels, places)
            points, places = points[kept], np.searchsorted(kept, places)
        entry = np.searchsorted(points, point)
        stops = sorted(
            zip(((places - entry) % len(points)).tolist(), self._ends[ends, 1].tolist(), strict=True)
        )
        return np.concatenate([points[entry:], points[: entry + 1]]), iter(stops), 0
