"""The files of an input, as `scan` takes them."""

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from sampoll.core.filenames import is_searched, takes_part
from sampoll.core.names import base_name
from sampoll.files.files import walk
from sampoll.spool.scan import Signature


def signature_of(status: os.stat_result) -> Signature:
    return Signature(status.st_size, status.st_mtime_ns, status.st_ino)


def listing(
    directory: Path, *, recursive: bool, suffixes: Collection[str], ready_suffix: str | None
) -> Iterator[tuple[str, Signature]]:
    """The regular files that can belong to pairs, by their path inside `directory`. Links, pipes and devices
    are ignored, and so are folders whose names look like those of such files."""

    def enters(folder: str) -> bool:
        return recursive and is_searched(folder) and not takes_part(base_name(folder), suffixes, ready_suffix)

    for folder, entries in walk(directory, enters=enters, is_strict=True):
        for entry in entries:
            if takes_part(entry.name, suffixes, ready_suffix):
                signature = _signature_of_regular(entry)
                if signature is not None:
                    yield (f"{folder}/{entry.name}" if folder else entry.name), signature


def _signature_of_regular(entry: "os.DirEntry[str]") -> Signature | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return signature_of(status) if stat.S_ISREG(status.st_mode) else None
