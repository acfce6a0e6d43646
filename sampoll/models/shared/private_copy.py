"""Private copies of files of weights, which no other process can change."""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from sampoll.core.errors import ModelUnavailable
from sampoll.files.files import sha256_of

CHUNK_BYTES = 2**20
MAX_BYTES = 2**33
"""Three times the largest official checkpoint; larger files are refused before they fill the memory."""


@dataclass(frozen=True)
class PrivateCopy:
    """The copy's path, which libraries may map into memory, and the SHA-256 of its content: a thread computes
    it meanwhile, so who asks for it last waits least."""

    path: Path
    _sha256: Future[str] = field(repr=False)

    @property
    def sha256(self) -> str:
        return self._sha256.result()


@contextmanager
def private_copy(path: Path) -> Iterator[PrivateCopy]:
    """A copy of `path` in memory (a temporary file where the system has no files in memory).

    What maps the copy keeps its memory, also after the block; a later change of `path` has no effect on it:
    a file that is mapped itself changes what was loaded if it is overwritten, and ends the process
    (SIGBUS) if it is truncated. ModelUnavailable if `path` cannot be read.
    """
    with _unnamed_file() as copy:
        try:
            with path.open("rb", buffering=0) as original:
                size = os.fstat(original.fileno()).st_size
                check_size(path, size)
                _copy(original, copy, size)
        except OSError as error:
            raise ModelUnavailable(f"{path} cannot be read: {error.strerror or error}") from error
        place = Path(f"/proc/self/fd/{copy.fileno()}" if _IN_MEMORY else copy.name)
        with ThreadPoolExecutor(1, "digest") as thread:
            yield PrivateCopy(place, thread.submit(sha256_of, place))


def check_size(path: Path, size: int) -> None:
    """ModelUnavailable if a file of so many bytes is too large to be one of weights."""
    if size > MAX_BYTES:
        raise ModelUnavailable(f"{path} has {size} bytes, more than weights can have: {MAX_BYTES}")


def _copy(original: IO[bytes], copy: IO[bytes], size: int) -> None:
    """Copies `size` bytes, or fewer if there are fewer."""
    while chunk := original.read(min(size, CHUNK_BYTES)):
        size -= len(chunk)
        copy.write(chunk)
    copy.flush()


_IN_MEMORY = hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()


def _unnamed_file() -> IO[bytes]:
    if _IN_MEMORY:
        return os.fdopen(os.memfd_create("sampoll weights"), "wb")
    return tempfile.NamedTemporaryFile()
