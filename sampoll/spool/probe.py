"""Checks that the directories of a spool can be used, by using them."""

import errno
import os
import time
import uuid
from pathlib import Path

from sampoll.core.errors import (
    ConfigurationError,
    InputUnavailable,
    StorageTrouble,
    concerns_one_path,
    translated_os_errors,
)
from sampoll.core.filenames import PRIVATE
from sampoll.files.files import create_file, ensure_below
from sampoll.files.locks import require_locks
from sampoll.files.space import free_bytes
from sampoll.spool.layout import Layout
from sampoll.spool.places import Places

PROBE_BYTES = 64 * 1024
SPARE_INODES = 16
"""A few files of our own for one job."""
PROBED_SECONDS = 5.0
"""A probe that succeeded is not repeated for this long."""


def probe(layout: Layout, min_free_bytes: int) -> None:
    """Makes the private directories, and writes, renames and removes a file in each.

    InputUnavailable, StorageTrouble, PermissionRefused, ConfigurationError or SystemUnsupported says what
    cannot be done.
    """
    require_locks()
    if not layout.input.is_dir():
        raise InputUnavailable(f"there is no directory {layout.input}")
    check_room(layout, min_free_bytes)
    name = f".probe-{uuid.uuid4().hex}"
    with translated_os_errors("use the input", layout.input):
        ensure_below(layout.input, layout.work)
        _try(layout.input / name, layout.work / name)
    with translated_os_errors("use the output", layout.output):
        ensure_below(layout.output, layout.stage)
        _try(layout.stage / name, layout.output / name)


class StorageCheck:
    """Tells errors of one path from those of the storage as a whole, by a probe of the storage."""

    def __init__(self, layout: Layout, places: Places, min_free_bytes: int) -> None:
        self._layout = layout
        self._places = places
        self._min_free_bytes = min_free_bytes
        self._usable_until = 0.0

    def raise_unless_of_one_path(self, error: OSError) -> None:
        """Raises `error`, or what the probe finds, unless the storage can be used otherwise."""
        if not concerns_one_path(error):
            raise error
        self._places.raise_if_lost()
        if time.monotonic() >= self._usable_until:
            probe(self._layout, self._min_free_bytes)
            self._usable_until = time.monotonic() + PROBED_SECONDS


def check_room(layout: Layout, min_free_bytes: int) -> None:
    """StorageTrouble if the filesystem of the input or the output is nearly out of space or inodes."""
    for directory in (layout.input, layout.output):
        with translated_os_errors("look at", directory):
            room = os.statvfs(directory)
        if room.f_files and room.f_favail < SPARE_INODES:
            raise StorageTrouble(f"{directory} has room for {room.f_favail} more files only (inodes)")
        free = free_bytes(room)
        if free < min_free_bytes:
            raise StorageTrouble(
                f"{directory} has {free} bytes free, less than {min_free_bytes} (--min-free)"
            )


def _try(source: Path, target: Path) -> None:
    """A file is written at `source` and renamed to `target`, as every job will be."""
    try:
        create_file(source, bytes(PROBE_BYTES), sync=True)
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            raise ConfigurationError(
                f"{source.parent} and {target.parent} are on different filesystems, or mounted apart: "
                f"{PRIVATE} must not be a mount of its own, because pairs move there by renames"
            ) from error
    finally:
        for path in (source, target):
            path.unlink(missing_ok=True)
