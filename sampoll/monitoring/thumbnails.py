"""Pictures of the last results, with their masks: kept in memory, small and large, for the pages."""

import io
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from threading import Lock

from PIL import Image

from sampoll.core.names import printable
from sampoll.core.results import Artifact, Segmentation
from sampoll.formats.overlay import Overlay

log = logging.getLogger(__name__)

KEPT = 12
SIDE = 320
"""Pixels of the longer side of a small one; a large one has those of an overlay, at most about 1 MB."""
KEPT_CAPTIONS = 20
MAX_LABEL_CHARACTERS = 40
MIN_INTERVAL_SECONDS = 1.0
"""Drawing costs as much as decoding, and the page needs no more than one picture per second."""


@dataclass(frozen=True)
class Thumbnail:
    """`made_at` is in seconds of the epoch, `size` is (H, W) of the image, `captions` are the labels and
    scores of the first masks."""

    number: int
    name: str
    made_at: float
    size: tuple[int, int]
    masks: int
    captions: Sequence[str]
    small: bytes = field(repr=False)
    large: bytes = field(repr=False)


class Thumbnails:
    """A format that writes no files: it receives each result, and draws at most one a second."""

    needs_image = True

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: deque[Thumbnail] = deque(maxlen=KEPT)
        self._numbers = count(1)
        self._next_at = 0.0
        self._overlay = Overlay()

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        return []

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        with self._lock:
            is_due = time.monotonic() >= self._next_at
            if is_due:
                self._next_at = time.monotonic() + MIN_INTERVAL_SECONDS
        if is_due:
            try:
                self._keep(segmentation)
            except Exception as error:  # noqa: BLE001  a picture for people must not cost a result
                log.debug("no thumbnail of %s: %s", printable(segmentation.name), error)
        return []

    def _keep(self, segmentation: Segmentation) -> None:
        [overlay] = self._overlay.render(segmentation, ())
        with Image.open(io.BytesIO(overlay.content)) as image:
            image.thumbnail((SIDE, SIDE))
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=80)
        with self._lock:
            self._kept.appendleft(
                Thumbnail(
                    next(self._numbers),
                    printable(segmentation.name),
                    time.time(),
                    segmentation.size,
                    sum(map(len, segmentation.masks)),
                    _captions(segmentation),
                    buffer.getvalue(),
                    overlay.content,
                )
            )

    def find(self, number: int) -> Thumbnail | None:
        """The one of this number, if it is still kept."""
        return next((each for each in self.kept() if each.number == number), None)

    def kept(self) -> Sequence[Thumbnail]:
        """The last ones, the newest first."""
        with self._lock:
            return list(self._kept)


def _captions(segmentation: Segmentation) -> list[str]:
    return [
        f"{printable(prompt.label)[:MAX_LABEL_CHARACTERS]} {mask.score:.2f}"
        for _, prompt, mask in islice(segmentation.numbered_masks(), KEPT_CAPTIONS)
    ]
