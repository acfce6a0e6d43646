"""Files that are there whole, or as they were before."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replaced_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path`, and of whatever was there, once it is written whole. Several
    processes may do so at the same time; the last one stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with new.open("xb") as file:
            yield file
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
