"""Compares the objects of two scenes."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.ndimage import binary_fill_holes

from benchmarks.exchange.scene import Scene, Thing

NEAR_PIXELS = 1.5
"""How far the sides of two boxes of one object may be apart."""


@dataclass
class Comparison:
    """What came of the objects of a scene.

    `expected` is how many there were, `found` how many came, and `matched` how many of the former came with
    their label. The pixels are those that these differ in, summed up; `box_pixels` is the largest difference
    of a side of their boxes.
    """

    expected: int = 0
    found: int = 0
    matched: int = 0
    has_masks: bool = False
    pixels_lost: int = 0
    pixels_added: int = 0
    hole_pixels_added: int = 0
    box_pixels: float = 0.0


def compared(expected: Scene, found: Scene) -> Comparison:
    result = Comparison(sum(map(len, expected.values())), sum(map(len, found.values())))
    for name, things in expected.items():
        left = list(found.get(name, ()))
        for thing in things:
            best = _best(thing, left)
            if best is not None:
                left = [other for other in left if other is not best]
                _add(result, thing, best)
    return result


def _best(thing: Thing, others: Sequence[Thing]) -> Thing | None:
    """The one with the same label that is most alike, if it is alike at all."""
    alike = [other for other in others if other.label == thing.label and _overlap(thing, other) > 0]
    return max(alike, key=lambda other: _overlap(thing, other), default=None)


def _overlap(one: Thing, other: Thing) -> float:
    if one.mask is None or other.mask is None:
        return max(0.0, 1 - _distance(one, other) / NEAR_PIXELS)
    return float((one.mask & other.mask).sum() / (one.mask | other.mask).sum())


def _distance(one: Thing, other: Thing) -> float:
    return max(abs(a - b) for a, b in zip(one.box, other.box, strict=True))


def _add(result: Comparison, expected: Thing, found: Thing) -> None:
    result.matched += 1
    result.box_pixels = max(result.box_pixels, _distance(expected, found))
    if expected.mask is not None and found.mask is not None:
        result.has_masks = True
        result.pixels_lost += int((expected.mask & ~found.mask).sum())
        result.pixels_added += int((found.mask & ~expected.mask).sum())
        holes = binary_fill_holes(expected.mask) & ~expected.mask
        result.hole_pixels_added += int((found.mask & holes).sum())
