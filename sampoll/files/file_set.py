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
from sampoll.files.files import files_below, opened_directory, read_regular, sha256_of
from sampoll.files.locks import lock_file

OURS = ".sampoll-files.json"
"""The paths that were written, relative to the directory, with their SHA-256; null while one is replaced."""
_LIST = re.compile(r"\.sampoll(-.+)?-files\.json")
NEW = ".sampoll-new"


class NewFiles:
    """The files of a set that are not in place yet."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.paths: list[str] = []

    @contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        """Yields a file that is put at `path` when all are written."""
        place = self._directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            yield file
        self.paths.append(path)

    def write(self, path: str, content: bytes) -> None:
        with self.open(path) as file:
            file.write(content)


@contextmanager
def replaced_set(
    directory: Path, *, belongs: Callable[[str], bool] = lambda path: False
) -> Iterator[NewFiles]:
    """Yields where the files of the set are written. At the end of the block they are put in place, and what
    an earlier call has written besides is removed; after an error, nothing has changed.

    The last file is that without which a reader does not use the others: it is taken away before they
    change, and put in place after them. OutputUnavailable if a file that is to be replaced, or one of which
    the path `belongs` to the set, was not written by an earlier call, or was changed since.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _exclusive(directory):
        staging = directory / NEW
        shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed
        staging.mkdir()
        try:
            new = NewFiles(staging)
            yield new
            _replace(directory, new.paths, belongs)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _replace(directory: Path, paths: list[str], belongs: Callable[[str], bool]) -> None:
    staging = directory / NEW
    new = {path: sha256_of(staging / path) for path in paths}
    ours = written_files(directory)
    outdated = _outdated(directory, new, ours, belongs)
    note_written(directory, dict.fromkeys((*ours, *new)))
    *others, last = paths
    (directory / last).unlink(missing_ok=True)
    for path in others:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (staging / path).replace(directory / path)
    for path in outdated:
        remove_file(directory, path)
    (staging / last).replace(directory / last)
    note_written(directory, new)


def _outdated(
    directory: Path,
    new: Mapping[str, str],
    ours: Mapping[str, str | None],
    belongs: Callable[[str], bool],
) -> list[str]:
    """The files of ours that are not in the new set; OutputUnavailable if something else is in its place."""
    there = (path.relative_to(directory).as_posix() for path in files_below(directory, enters=_is_visible))
    outdated = []
    for path in sorted({*new, *ours, *filter(belongs, there)}):
        sha256 = _sha256_at(directory / path)
        is_ours = is_written(directory, path, ours)
        if sha256 is None or sha256 == new.get(path):
            continue
        if is_ours and path not in new:
            outdated.append(path)
        elif not is_ours and (path in new or belongs(path)):
            raise OutputUnavailable(
                f"{printable(str(directory / path))} was not written by sampoll, or was changed since: move "
                f"it away, then run sampoll export; nothing in {printable(str(directory))} was changed"
            )
    return outdated


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
