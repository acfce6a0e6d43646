"""Small pictures of the last results, with their masks: kept in memory, for the page."""

import io
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from threading import Lock

from PIL import Image

from sampoll.core.names import printable
from sampoll.core.results import Artifact, Segmentation
from sampoll.formats.overlay import Overlay

log = logging.getLogger(__name__)

KEPT = 12
SIDE = 320
"""Pixels of the longer side."""
MIN_INTERVAL_SECONDS = 1.0
"""Drawing costs as much as decoding, and the page needs no more than one picture per second."""


@dataclass(frozen=True)
class Thumbnail:
    number: int
    name: str
    jpeg: bytes = field(repr=False)


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
                Thumbnail(next(self._numbers), printable(segmentation.name), buffer.getvalue())
            )

    def kept(self) -> Sequence[Thumbnail]:
        """The last ones, the newest first."""
        with self._lock:
            return list(self._kept)
