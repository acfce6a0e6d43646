"""Atomic creation and replacement of files: a file has either its whole new content, or is as before."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sampoll.files.files import move_unless_taken, sync_descriptor, sync_directory


@contextmanager
def replaced_file(path: Path, *, sync: bool = False, is_sole_writer: bool = False) -> Iterator[IO[bytes]]:
    """Yields a new file that atomically replaces `path` at the end of the block; with `sync`, its content and
    its name are then on disk. After an error, `path` is unchanged.

    The temporary file is in the same directory. Its name is unique, so that several processes can replace one
    path at the same time: the last one wins. With `is_sole_writer`, it is always NAME.new, so that the next
    call removes the one that a killed process has left: only for names that no other program chooses.
    """
    if is_sole_writer:
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
    else:
        new = temporary_name(path)
    try:
        with new.open("xb") as file:
            yield file
            if sync:
                file.flush()
                sync_descriptor(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


@contextmanager
def created_file(path: Path) -> Iterator[IO[bytes]]:
    """Yields a new file that becomes `path` at the end of the block; FileExistsError, and no change, if
    `path` exists by then."""
    new = temporary_name(path)
    try:
        with new.open("xb") as file:
            yield file
        if not move_unless_taken(new, path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))
    finally:
        new.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """A new, hidden name in the directory of `path`."""
    return path.with_name(f".{uuid.uuid4().hex}.tmp")


def replace_file(path: Path, content: bytes, *, sync: bool = False, is_sole_writer: bool = False) -> None:
    """Atomically replaces the content of `path` by `content`; the options are those of `replaced_file`."""
    with replaced_file(path, sync=sync, is_sole_writer=is_sole_writer) as file:
        file.write(content)
