"""Files that are there whole, or as they were before."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sampoll.files.files import sync_directory


@contextmanager
def replaced_file(path: Path, *, sync: bool = False, is_sole_writer: bool = False) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path`, and of whatever was there, once the block has written all of it;
    on the disk, with its name, if `sync`. After an error, `path` is as it was.

    The unfinished file lies beside it. It has a new name each time, so that several processes may replace one
    path at the same time: the last one stays. A caller that `is_sole_writer` of the path uses NAME.new each
    time, and so takes away what a killed process has left.
    """
    if is_sole_writer:
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
    else:
        new = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with new.open("xb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


def replace_file(path: Path, content: bytes, *, sync: bool = False, is_sole_writer: bool = False) -> None:
    """`path` holds `content`, or what it held before: never something between. As `replaced_file`."""
    with replaced_file(path, sync=sync, is_sole_writer=is_sole_writer) as file:
        file.write(content)
