"""Embeddings of images seen before, so that another prompt for one of them costs no encoder call."""

import logging
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sampoll.core.jobs import KnownImage
from sampoll.core.protocols import CacheableSegmenter
from sampoll.files.atomic import replace_file
from sampoll.files.files import opened_regular

log = logging.getLogger(__name__)

E = TypeVar("E")

SUFFIX = ".safetensors"


class EmbeddingCache(Generic[E]):
    """Embeddings by the sha256 of the image file: the most recently used ones in memory, and all of them in
    `directory`, if it is given. Thread-safe.

    A file is used only if its checksum is correct; otherwise the image is embedded again.
    """

    def __init__(
        self, segmenter: CacheableSegmenter[E], memory_bytes: int, directory: Path | None = None
    ) -> None:
        self._segmenter = segmenter
        self._at_most = memory_bytes // max(1, segmenter.embedding_bytes)
        self._directory = None if directory is None else directory / segmenter.embedding_key
        self._kept: OrderedDict[str, E] = OrderedDict()
        self._lock = Lock()
        self._has_lost_some = False

    @property
    def has_failed_writes(self) -> bool:
        """Whether an embedding could not be written to `directory`."""
        return self._has_lost_some

    def get(self, image_sha256: str) -> E | None:
        """The embedding of that image, if it is known."""
        with self._lock:
            if image_sha256 in self._kept:
                self._kept.move_to_end(image_sha256)
                return self._kept[image_sha256]
        embedding = self._read(image_sha256)
        if embedding is not None:
            self._keep(image_sha256, embedding)
        return embedding

    def known(self, image_sha256: str) -> KnownImage | None:
        """Like `get`, but returns a KnownImage, which a job can have as its image."""
        embedding = self.get(image_sha256)
        return None if embedding is None else KnownImage(self._segmenter.image_size(embedding), embedding)

    def put(self, image_sha256: str, embedding: E) -> None:
        """Adds an embedding, whose computation on the device must be finished."""
        self._keep(image_sha256, embedding)
        if self._directory is not None:
            self._write(self._path(image_sha256), embedding)

    def _keep(self, image_sha256: str, embedding: E) -> None:
        with self._lock:
            self._kept[image_sha256] = embedding
            self._kept.move_to_end(image_sha256)
            while len(self._kept) > self._at_most:
                self._kept.popitem(last=False)

    def _path(self, image_sha256: str) -> Path:
        assert self._directory is not None
        return self._directory / image_sha256[:2] / f"{image_sha256}{SUFFIX}"

    def _read(self, image_sha256: str) -> E | None:
        if self._directory is None:
            return None
        path = self._path(image_sha256)
        try:
            with opened_regular(path), safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
                expected = (file.metadata() or {}).get("crc32")
            if expected != _checksum(arrays):
                raise ValueError("the checksum is wrong")
            return self._segmenter.unpacked(arrays)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            log.warning("%s cannot be used, its image is embedded again: %s", path, error)
            return None

    def _write(self, path: Path, embedding: E) -> None:
        # safetensors writes the memory of an array as it is, so it must be contiguous.
        packed = self._segmenter.packed(embedding).items()
        arrays = {name: np.ascontiguousarray(array) for name, array in packed}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, save(arrays, {"crc32": _checksum(arrays)}))
        except OSError as error:
            level = logging.DEBUG if self._has_lost_some else logging.WARNING
            log.log(level, "cannot keep embeddings in %s: %s", self._directory, error)
            self._has_lost_some = True


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    crc = 0
    for name in sorted(arrays):
        crc = zlib.crc32(arrays[name].tobytes(), zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"
