"""The files of an input, as `scan` takes them."""

import os
import stat
from collections.abc import Collection, Iterator
from functools import partial
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
    takes_links_and_hidden: bool = False,
) -> Iterator[tuple[str, Signature]]:
    """The regular files that can belong to pairs, by their path inside `directory`. Links, pipes and devices
    are ignored, and so are folders whose names look like those of such files. With `takes_links_and_hidden`,
    links to regular files are taken, with the signatures of those, and hidden names too.

    Folders and files that cannot be read become `obstacles`. Raises OSError only if `directory` itself cannot
    be read, or for lack of memory or open files.
    """

    takes = partial(
        takes_part, suffixes=suffixes, ready_suffix=ready_suffix, is_hidden_too=takes_links_and_hidden
    )

    def enters(folder: str) -> bool:
        return (
            recursive
            and is_searched(folder)
            and not takes(base_name(folder))
            and not obstacles.blocks(f"{folder}/")
        )

    def pass_over(folder: str, error: OSError) -> None:
        if not folder or not concerns_one_path(error):
            raise error
        obstacles.note(f"{folder}/", UnreadableInput(f"cannot be listed: {error.strerror}"), now)

    for folder, entries in walk(directory, enters=enters, on_error=pass_over):
        for entry in entries:
            if not takes(entry.name):
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if obstacles.blocks(path):
                continue
            try:
                signature = _signature_of_regular(entry, follows_links=takes_links_and_hidden)
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


def _signature_of_regular(entry: "os.DirEntry[str]", *, follows_links: bool) -> Signature | None:
    try:
        status = entry.stat(follow_symlinks=follows_links)
    except FileNotFoundError:
        return None
    return signature_of(status) if stat.S_ISREG(status.st_mode) else None
