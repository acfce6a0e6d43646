"""Files that belong together, such as those of a data set: written as a whole, in place of an earlier set.

A file beside them lists those that sampoll wrote, with their digests; no other one is replaced or removed.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from sampoll.core.errors import OutputUnavailable
from sampoll.core.names import printable
from sampoll.files.atomic import replace_file
from sampoll.files.files import (
    file_in_the_way,
    files_below,
    link_unless_taken,
    opened_directory,
    read_regular,
    sha256_of,
)
from sampoll.files.locks import lock_file

OURS = ".sampoll-files.json"
"""The paths that were written, relative to the directory, with their SHA-256; null while one is replaced."""
_LIST = re.compile(r"\.sampoll(-.+)?-files\.json")
NEW = ".sampoll-new"


class NewFiles:
    """The files of a set that are not in place yet."""

    def __init__(self, directory: Path, earlier: Path, ours: Mapping[str, str | None]) -> None:
        self.directory = directory
        """Where they wait; temporary files can be here too."""
        self._earlier = earlier
        self._ours = ours
        self.paths: list[str] = []

    @contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        """Yields a file that is put at `path` when all are written."""
        place = self.directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            yield file
        self.paths.append(path)

    def write(self, path: str, content: bytes) -> None:
        with self.open(path) as file:
            file.write(content)

    def keep(self, path: str) -> bool:
        """Takes a file of the earlier set into the new one; False if it is not there, or was changed."""
        if not is_written(self._earlier, path, self._ours):
            return False
        place = self.directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        link_unless_taken(self._earlier / path, place)
        self.paths.append(path)
        return True


@contextmanager
def replaced_set(
    directory: Path,
    *,
    belongs: Callable[[str], bool] | None = None,
    kind: str = "",
    command: str = "export",
) -> Iterator[NewFiles]:
    """Yields where the files of the set are written. At the end of the block they are put in place, and what
    an earlier call has written besides is removed; after an error, nothing has changed.

    The last file is that without which a reader does not use the others: it is taken away before they
    change, and put in place after them. OutputUnavailable if a file that is to be replaced, or one of which
    the path `belongs` to the set, was not written by an earlier call, or was changed since: its message names
    the `command` that is to be run again. Sets of different `kind` can be in one directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _exclusive(directory):
        staging = directory / NEW
        shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed
        staging.mkdir()
        try:
            ours = written_files(directory, kind)
            new = NewFiles(staging, directory, ours)
            yield new
            digests = {path: sha256_of(staging / path) for path in new.paths}
            outdated = _outdated(directory, digests, ours, belongs, command)
            note_written(directory, dict.fromkeys((*ours, *digests)), kind)
            _replace(directory, new.paths, outdated)
            note_written(directory, digests, kind)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _replace(directory: Path, paths: list[str], outdated: list[str]) -> None:
    staging = directory / NEW
    *others, last = paths
    (directory / last).unlink(missing_ok=True)
    for path in others:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (staging / path).replace(directory / path)
    for path in outdated:
        remove_file(directory, path)
    (staging / last).replace(directory / last)


def _outdated(
    directory: Path,
    new: Mapping[str, str],
    ours: Mapping[str, str | None],
    belongs: Callable[[str], bool] | None,
    command: str,
) -> list[str]:
    """The files of ours that are not in the new set; OutputUnavailable if something else is in its place."""
    known = {*new, *ours}
    if belongs is not None:
        there = files_below(directory, enters=_is_visible)
        known |= set(filter(belongs, (path.relative_to(directory).as_posix() for path in there)))
    for folder in sorted({(directory / path).parent for path in new}):
        if (file := file_in_the_way(folder)) is not None:
            raise _not_ours(directory, file, command)
    outdated = []
    for path in sorted(known):
        sha256 = _sha256_at(directory / path)
        is_ours = is_written(directory, path, ours)
        if sha256 is None or sha256 == new.get(path):
            continue
        if is_ours and path not in new:
            outdated.append(path)
        elif not is_ours and (path in new or (belongs is not None and belongs(path))):
            raise _not_ours(directory, directory / path, command)
    return outdated


def _not_ours(directory: Path, path: Path, command: str) -> OutputUnavailable:
    return OutputUnavailable(
        f"{printable(str(path))} was not written by sampoll, or was changed since: move it away, then run "
        f"sampoll {command}; nothing in {printable(str(directory))} was changed"
    )


def _is_visible(folder: str) -> bool:
    return not folder.rpartition("/")[2].startswith(".")


def _sha256_at(path: Path) -> str | None:
    """The SHA-256 of a file; None if there is none, "" for anything else than a regular file."""
    if not os.path.lexists(path):
        return None
    return sha256_of(path) if path.is_file() and not path.is_symlink() else ""


def is_written(directory: Path, path: str, ours: Mapping[str, str | None]) -> bool:
    """Whether a regular file is there and is one of `ours`, unchanged."""
    sha256 = _sha256_at(directory / path)
    return bool(sha256) and path in ours and ours[path] in (None, sha256)


def remove_file(directory: Path, path: str) -> None:
    """Removes a file below a directory, and the folders that are empty then."""
    (directory / path).unlink(missing_ok=True)
    with suppress(OSError):  # not empty
        for folder in Path(path).parents[:-1]:
            (directory / folder).rmdir()


def written_files(directory: Path, kind: str = "") -> dict[str, str | None]:
    """The paths of the files that were written in a directory, and the SHA-256 of each, or None; those of one
    kind, if files of several kinds are written there independently."""
    return _listed_in(_list_of(directory, kind))


def all_written_files(directory: Path) -> Iterator[tuple[str, str | None]]:
    """The same for all lists in a directory and below: each path is relative to the place of its list."""
    for path in files_below(directory):
        if _LIST.fullmatch(path.name):
            yield from _listed_in(path).items()


def _listed_in(path: Path) -> dict[str, str | None]:
    try:
        ours = json.loads(read_regular(path))
    except (OSError, ValueError):
        return {}
    if not isinstance(ours, dict):
        return {}
    return {path: sha256 for path, sha256 in ours.items() if not {"/", ".."} & set(Path(path).parts)}


def note_written(directory: Path, ours: Mapping[str, str | None], kind: str = "") -> None:
    """Keeps what `written_files` returns."""
    replace_file(_list_of(directory, kind), json.dumps(ours, indent=0).encode())


def _list_of(directory: Path, kind: str) -> Path:
    return directory / (f".sampoll-{quote(kind, safe='')}-files.json" if kind else OURS)


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """Waits for other processes that write a set here, where the file system has locks."""
    with ExitStack() as stack:
        with suppress(OSError):
            lock_file(stack.enter_context(opened_directory(directory)), wait=True)
        yield
