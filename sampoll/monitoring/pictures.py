"""Pictures of the last results, with their masks: kept in memory, small and large, for the pages."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from threading import Lock

KEPT = 12


@dataclass(frozen=True)
class Thumbnail:
    """`made_at` is in seconds of the epoch, `size` is (H, W) of the image, `captions` are the labels and
    scores of the first masks. `number` is given when it is kept."""

    name: str
    made_at: float
    size: tuple[int, int]
    masks: int
    captions: Sequence[str]
    small: bytes = field(repr=False)
    large: bytes = field(repr=False)
    number: int = 0


class Pictures:
    """The last ones, numbered from 1; thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: deque[Thumbnail] = deque(maxlen=KEPT)
        self._numbers = count(1)

    def keep(self, picture: Thumbnail) -> None:
        with self._lock:
            self._kept.appendleft(replace(picture, number=next(self._numbers)))

    def find(self, number: int) -> Thumbnail | None:
        """The one of this number, if it is still kept."""
        return next((each for each in self.kept() if each.number == number), None)

    def kept(self) -> Sequence[Thumbnail]:
        """The newest first."""
        with self._lock:
            return list(self._kept)
