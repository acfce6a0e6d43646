"""The files of an input, as `scan` takes them."""

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from sampoll.core.errors import UnreadableInput, concerns_one_path
from sampoll.core.filenames import is_searched, takes_part
from sampoll.core.names import base_name
from sampoll.files.files import is_accessible, walk
from sampoll.spool.obstacles import Obstacles
from sampoll.spool.scan import Signature


def signature_of(status: os.stat_result) -> Signature:
    return Signature(status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime)


def listing(
    directory: Path,
    *,
    recursive: bool,
    suffixes: Collection[str],
    ready_suffix: str | None,
    obstacles: Obstacles,
    now: float,
) -> Iterator[tuple[str, Signature]]:
    """The regular files that can belong to pairs, by their path inside `directory`. Links, pipes and devices
    are ignored, and so are folders whose names look like those of such files.

    Folders and files that cannot be read become `obstacles`. Raises OSError only if `directory` itself cannot
    be read, or for lack of memory or open files.
    """

    def enters(folder: str) -> bool:
        return (
            recursive
            and is_searched(folder)
            and not takes_part(base_name(folder), suffixes, ready_suffix)
            and not obstacles.blocks(f"{folder}/")
        )

    def pass_over(folder: str, error: OSError) -> None:
        if not folder or not concerns_one_path(error):
            raise error
        obstacles.note(f"{folder}/", UnreadableInput(f"cannot be listed: {error.strerror}"), now)

    for folder, entries in walk(directory, enters=enters, on_error=pass_over):
        for entry in entries:
            if not takes_part(entry.name, suffixes, ready_suffix):
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if obstacles.blocks(path):
                continue
            try:
                signature = _signature_of_regular(entry)
            except OSError as error:
                if not concerns_one_path(error):
                    raise
                # The folder can be listed, and not entered.
                if folder and not is_accessible(directory / folder, os.X_OK):
                    pass_over(folder, error)
                    break
                obstacles.note(path, UnreadableInput(f"cannot be read: {error.strerror}"), now)
                continue
            if signature is not None:
                yield path, signature


def _signature_of_regular(entry: "os.DirEntry[str]") -> Signature | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return signature_of(status) if stat.S_ISREG(status.st_mode) else None
