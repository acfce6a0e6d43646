"""Shows that a long piece of work goes on, so that its service does not count as stalled."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Self, TypeAlias, TypeVar

from sampoll.core.events import Listener, Progressed
from sampoll.core.results import Segmentation

T = TypeVar("T")

MIN_INTERVAL_SECONDS = 0.25

Advance: TypeAlias = Callable[[], None]
"""Called after each part of a long piece of work."""


def no_progress() -> None:
    """For work that is not watched."""


class Progress:
    """An Advance that emits Progressed, at most four times a second. Threads may share it."""

    def __init__(self, emit: Listener) -> None:
        self._emit = emit
        self._next_at = time.monotonic() + MIN_INTERVAL_SECONDS

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + MIN_INTERVAL_SECONDS
            self._emit(Progressed())


def watched(segmentation: Segmentation, advance: Advance) -> Segmentation:
    """The same segmentation with masks that call `advance` for each one that is iterated over, so that
    formats and cleaning need no code for it."""
    masks = (_Watched.of(masks, advance) for masks in segmentation.masks)
    return replace(segmentation, masks=_Watched.of(masks, advance))


def unwatched(segmentation: Segmentation) -> Segmentation:
    """The inverse of `watched`, for what keeps the masks after the work."""
    return replace(segmentation, masks=tuple(tuple(masks) for masks in segmentation.masks))


class _Watched(tuple[T, ...]):
    """A tuple whose iterators call `advance` before each item."""

    advance: Advance

    @classmethod
    def of(cls, items: Iterable[T], advance: Advance) -> Self:
        watched = cls(items)
        watched.advance = advance
        return watched

    def __iter__(self) -> Iterator[T]:
        for item in super().__iter__():
            self.advance()
            yield item
