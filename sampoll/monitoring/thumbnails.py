"""Draws pictures of results for the pages."""

import io
import logging
import time
from collections.abc import Callable, Sequence
from itertools import islice
from threading import Lock

from PIL import Image

from sampoll.core.names import printable
from sampoll.core.results import Artifact, Segmentation
from sampoll.formats.overlay import Overlay
from sampoll.monitoring.pictures import Thumbnail

log = logging.getLogger(__name__)

SIDE = 320
"""Pixels of the longer side of a small one; a large one has those of an overlay, at most about 1 MB."""
KEPT_CAPTIONS = 20
MAX_LABEL_CHARACTERS = 40
MIN_INTERVAL_SECONDS = 1.0
"""Drawing costs as much as decoding, and the page needs no more than one picture per second."""


class Thumbnails:
    """A format that writes no files: it receives each result, draws at most one a second, and gives it to
    `keep`."""

    needs_image = True

    def __init__(self, keep: Callable[[Thumbnail], None]) -> None:
        self._lock = Lock()
        self._keep = keep
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
                self._keep(self._drawn(segmentation))
            except Exception as error:  # noqa: BLE001  a picture for people must not cost a result
                log.debug("no thumbnail of %s: %s", printable(segmentation.name), error)
        return []

    def _drawn(self, segmentation: Segmentation) -> Thumbnail:
        [overlay] = self._overlay.render(segmentation, ())
        with Image.open(io.BytesIO(overlay.content)) as image:
            image.thumbnail((SIDE, SIDE))
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=80)
        return Thumbnail(
            printable(segmentation.name),
            time.time(),
            segmentation.size,
            sum(map(len, segmentation.masks)),
            _captions(segmentation),
            small=buffer.getvalue(),
            large=overlay.content,
        )


def _captions(segmentation: Segmentation) -> list[str]:
    return [
        f"{printable(prompt.label)[:MAX_LABEL_CHARACTERS]} {mask.score:.2f}"
        for _, prompt, mask in islice(segmentation.numbered_masks(), KEPT_CAPTIONS)
    ]
