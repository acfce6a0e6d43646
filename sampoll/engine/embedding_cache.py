"""Embeddings of images seen before, so that another prompt for one of them costs no encoder call."""

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sampoll.core.jobs import KnownImage
from sampoll.core.protocols import CacheableSegmenter
from sampoll.files.atomic import replace_file
from sampoll.files.files import read_regular

log = logging.getLogger(__name__)

E = TypeVar("E")

SUFFIX = ".safetensors"


class EmbeddingCache(Generic[E]):
    """Embeddings by the sha256 of the image file: the most recently used ones in memory, and all of them in
    `directory`, if it is given. Thread-safe.

    A file is used only if the digest in it is that of its content, of its image, and of all else that the
    embedding depends on; otherwise the image is embedded again, and the file replaced.
    """

    def __init__(
        self, segmenter: CacheableSegmenter[E], memory_bytes: int, directory: Path | None = None
    ) -> None:
        self._segmenter = segmenter
        self.memory_bytes = memory_bytes
        self.embedding_bytes = segmenter.embedding_bytes
        self._at_most = memory_bytes // max(1, self.embedding_bytes)
        self._key = segmenter.embedding_key
        self._directory = None if directory is None else directory / self._key
        self._kept: OrderedDict[str, E] = OrderedDict()
        self._lock = Lock()
        self._has_lost_some = False
        self._damaged: set[Path] = set()

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
        """Adds an embedding."""
        self._keep(image_sha256, embedding)
        if self._directory is not None:
            self._write(image_sha256, embedding)

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
            # Read and not mapped: a mapped file can change after its digest was compared.
            content = read_regular(path)
            arrays = load(content)
            if _metadata(content).get("sha256") != self._digest(image_sha256, arrays):
                raise ValueError("its content is not what was written for this image")
            return self._segmenter.unpacked(arrays)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            # Named once: it is looked for before the image is decoded, and again before it is embedded.
            level = logging.DEBUG if path in self._damaged else logging.WARNING
            log.log(level, "%s cannot be used, its image is embedded again: %s", path, error)
            self._damaged.add(path)
            return None

    def _write(self, image_sha256: str, embedding: E) -> None:
        path = self._path(image_sha256)
        # safetensors writes the memory of an array as it is, so it must be contiguous.
        packed = self._segmenter.packed(embedding).items()
        arrays = {name: np.ascontiguousarray(array) for name, array in packed}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, save(arrays, {"sha256": self._digest(image_sha256, arrays)}))
            self._damaged.discard(path)
        except OSError as error:
            level = logging.DEBUG if self._has_lost_some else logging.WARNING
            log.log(level, "cannot keep embeddings in %s: %s", self._directory, error)
            self._has_lost_some = True

    def _digest(self, image_sha256: str, arrays: Mapping[str, NDArray[Any]]) -> str:
        """The SHA-256 of an embedding, of its image's digest, and of the key of all else it depends on."""
        digest = hashlib.sha256(f"{self._key} {image_sha256}\n".encode())
        for name, array in sorted(arrays.items()):
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def _metadata(safetensors: bytes) -> dict[str, str]:
    """The metadata of a file that safetensors has read; it gives them itself only for files that it maps."""
    header: dict[str, Any] = json.loads(safetensors[8 : 8 + int.from_bytes(safetensors[:8], "little")])
    metadata: dict[str, str] = header.get("__metadata__", {})
    return metadata
