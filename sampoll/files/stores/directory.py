"""A directory as a store."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from sampoll.core.errors import StorageTrouble, is_refusal, translated_os_errors
from sampoll.core.names import printable
from sampoll.files.atomic import created_file, replace_file, temporary_name
from sampoll.files.files import (
    create_file,
    ensure_below,
    identity_of,
    move_unless_taken,
    read_regular,
    sync_directory,
    sync_filesystem,
)
from sampoll.files.stores.store import Listing, NamedContent

Durability: TypeAlias = Literal["batch", "file", "off"]
"""What is synced to disk: the filesystem after the files of a group are written, each file, or nothing."""


class DirectoryStore:
    """The files in a directory, which must exist, and below it. Links to files are followed when they are
    read, links to folders are not."""

    def __init__(self, root: Path, durability: Durability = "batch") -> None:
        self._root = root
        self._durability = durability
        self._identity = identity_of(root)

    @property
    def address(self) -> str:
        return str(self._root)

    def listing(self, folder: str) -> Listing:
        files: dict[str, int] = {}
        folders: list[str] = []
        # What is not there may be missing because all has gone.
        with self._noting_loss(), suppress(FileNotFoundError), os.scandir(self._root / folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                    continue
                with suppress(FileNotFoundError):  # deleted meanwhile, or a link that leads nowhere
                    if entry.is_file():
                        files[entry.name] = entry.stat().st_size
        self._raise_if_lost()
        return Listing(files, folders)

    def read(self, path: str, at_most: int | None = None) -> bytes:
        with self._noting_loss():
            return read_regular(self._root / path, at_most=at_most, follows_links=True)

    def create_all(self, files: Sequence[NamedContent]) -> list[bool]:
        with self._writing():
            return [self._is_created(path, content) for path, content in files]

    def replace(self, path: str, content: bytes, *, durable: bool = True) -> None:
        with self._writing():
            replace_file(self._place(path), content, sync=durable and self._durability != "off")

    def delete(self, path: str) -> None:
        with self._writing():
            (self._root / path).unlink(missing_ok=True)

    def publish(self, results: Sequence[Sequence[NamedContent]]) -> list[OSError | None]:
        self._raise_if_lost()
        group = [_Result(files) for files in results]
        with self._writing():
            try:
                _each(group, self._stage)
                self._sync_contents()
                _each(group, _Result.move_all_but_the_last)
                _each(group, _Result.move_the_last)
                self._sync_names(group)
            finally:
                for result in group:
                    result.discard()
        return [result.error for result in group]

    def close(self) -> None:
        pass

    def _is_created(self, path: str, content: bytes) -> bool:
        try:
            with created_file(self._place(path)) as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def _stage(self, result: "_Result") -> None:
        """Writes the files under temporary names, beside where they will be."""
        last = self._root / result.files[-1][0]
        if os.path.lexists(last):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(last))
        for path, content in result.files:
            place = self._place(path)
            temporary = temporary_name(place)
            result.staged.append((temporary, place))
            create_file(temporary, content, sync=self._durability == "file")

    def _place(self, path: str) -> Path:
        """Where a file is; its folder is made if it is missing."""
        place = self._root / path
        ensure_below(self._root, place.parent)
        return place

    def _sync_contents(self) -> None:
        if self._durability == "batch":
            sync_filesystem(self._root)

    def _sync_names(self, group: Sequence["_Result"]) -> None:
        if self._durability == "off":
            return
        published = (result for result in group if result.error is None)
        for folder in {place.parent for result in published for _, place in result.staged}:
            sync_directory(folder)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What the system refuses is an error of one path; others, such as a full disk, are those of all."""
        try:
            yield
        except OSError as error:
            if is_refusal(error):
                raise
            with translated_os_errors("write to", self._root):
                raise

    @contextmanager
    def _noting_loss(self) -> Iterator[None]:
        """An error of one path becomes one of all if the whole tree cannot be used any more."""
        try:
            yield
        except OSError:
            self._raise_if_lost()
            raise

    def _raise_if_lost(self) -> None:
        """StorageTrouble if the directory has gone, such as a mount: an empty one may lie in its place."""
        if self._identity is None or identity_of(self._root) != self._identity:
            raise StorageTrouble(f"{printable(self.address)} has gone or was replaced: mount it again")


@dataclass
class _Result:
    """The files of one result: where each is staged, and where it will be; its error, if it is refused."""

    files: Sequence[NamedContent]
    staged: list[tuple[Path, Path]] = field(default_factory=list)
    error: OSError | None = None

    def move_all_but_the_last(self) -> None:
        for temporary, place in self.staged[:-1]:
            temporary.replace(place)

    def move_the_last(self) -> None:
        temporary, place = self.staged[-1]
        if not move_unless_taken(temporary, place):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(place))

    def discard(self) -> None:
        """Removes what is still staged."""
        for temporary, _ in self.staged:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _each(group: Sequence[_Result], act: Callable[[_Result], None]) -> None:
    """Does something with each result that was not refused before."""
    for result in group:
        if result.error is None:
            try:
                act(result)
            except OSError as error:
                if not is_refusal(error):
                    raise
                result.error = error
