"""Images that are shown: read and decoded once, and kept while there is room."""

import hashlib
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any, TypeAlias

from sampoll.app.annotate.previews import Preview, preview_of
from sampoll.core.errors import BadImage, ImageUnknown
from sampoll.core.jobs import RgbImage
from sampoll.core.names import printable
from sampoll.inputs.decode import decode_image
from sampoll.inputs.discovery import read_image
from sampoll.inputs.options import DecodingOptions

KEPT = 16
"""The previews that are kept."""
PIXEL_BYTES = 512 * 2**20
"""What the pixels of images that are kept may take together; those of the last image are always kept."""
AT_ONCE = 2
"""Images that are decoded at the same time."""

_Key: TypeAlias = tuple[Path, tuple[int, ...]]


@dataclass(eq=False)
class OpenedImage:
    """An image of the folder. `size` is its (H, W), upright. `pixels` are None once others need the room."""

    sha256: str
    size: tuple[int, int]
    preview: Preview
    pixels: RgbImage | None = field(repr=False)
    embedding: Future[Any] | None = None
    """Done once the image is embedded; None if that was not begun."""

    @property
    def pixel_bytes(self) -> int:
        return 0 if self.pixels is None else self.pixels.nbytes


class OpenedImages:
    """The last images that were opened. Thread-safe."""

    def __init__(self, options: DecodingOptions) -> None:
        self._options = options
        self._kept: OrderedDict[_Key, Future[OpenedImage]] = OrderedDict()
        self._by_digest: dict[str, OpenedImage] = {}
        self._lock = Lock()
        self._decoding = BoundedSemaphore(AT_ONCE)

    def open(self, path: Path, *, anew: bool = False) -> OpenedImage:
        """The image of a file, `anew` with its pixels in any case; BadImage if it has gone, or cannot be
        read."""
        key = (path, _signature(path))
        with self._lock:
            future = None if anew else self._kept.get(key)
            is_kept = future is not None
            if future is None:
                future = self._kept[key] = Future()
            self._kept.move_to_end(key)
        if is_kept:
            return future.result()
        try:
            image = self._read(path)
        except BaseException as error:
            with self._lock:
                self._kept.pop(key, None)
            future.set_exception(error)
            raise
        future.set_result(image)
        with self._lock:
            self._make_room(image)
        return image

    def by_digest(self, sha256: str) -> OpenedImage:
        """An image that was opened before; ImageUnknown if it is not kept."""
        with self._lock:
            image = self._by_digest.get(sha256)
            if image is None:
                raise ImageUnknown("is not known here any more: open it again", field="image_sha256")
            for key, future in self._kept.items():
                if future.done() and not future.exception() and future.result() is image:
                    self._kept.move_to_end(key)  # it is used
                    break
            return image

    def _read(self, path: Path) -> OpenedImage:
        shown, limits = printable(path.name), self._options.limits
        with self._decoding:
            content = read_image(path, limits.max_image_bytes)
            pixels = decode_image(content, shown, limits.max_pixels, self._options.exif)
            size = (pixels.shape[0], pixels.shape[1])
            return OpenedImage(hashlib.sha256(content).hexdigest(), size, preview_of(pixels), pixels)

    def _make_room(self, newest: OpenedImage) -> None:
        """Under the lock."""
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        read = [future.result() for future in self._kept.values() if future.done() and not future.exception()]
        self._by_digest = {image.sha256: image for image in (*read, newest)}
        left = PIXEL_BYTES - newest.pixel_bytes
        for image in reversed(read):
            if image is not newest:
                left -= image.pixel_bytes
                if left < 0:
                    image.pixels = None


def _signature(path: Path) -> tuple[int, ...]:
    """What changes with the content of a file."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise BadImage(
            "has gone: it was moved or deleted since the folder was read", file=printable(path.name)
        ) from error
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror}", file=printable(path.name)) from error
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
