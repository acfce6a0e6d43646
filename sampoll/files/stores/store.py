"""What a tree of files can do, wherever it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

NamedContent: TypeAlias = tuple[str, bytes]
"""A path and the content of its file."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies directly in a folder: files with their sizes in bytes, and the names of folders."""

    files: Mapping[str, int]
    folders: Sequence[str]


class Store(Protocol):
    """A tree of files. Paths are relative to it, with slashes; "" is the tree itself. Thread-safe.

    An error of one path is an OSError. What concerns all of them is a SampollError, after the store's own
    retries: StorageTrouble, or PermissionRefused.
    """

    @property
    def address(self) -> str:
        """Where it is, for messages."""

    def listing(self, folder: str) -> Listing:
        """What is in `folder`, nothing if that is not there; FileNotFoundError if the store is not."""

    def read(self, path: str, at_most: int | None = None) -> bytes:
        """The content of a file; OSError with EFBIG for more than `at_most` bytes."""

    def create_all(self, files: Sequence[NamedContent]) -> list[bool]:
        """Creates files, each if it is not there yet; returns for each whether it was created."""

    def replace(self, path: str, content: bytes, *, durable: bool = True) -> None:
        """Writes a file, whether it is there or not; if it is not `durable`, a power cut may take it back."""

    def delete(self, path: str) -> None:
        """Removes a file if it is there."""

    def publish(self, results: Sequence[Sequence[NamedContent]]) -> list[OSError | None]:
        """Writes the files of each result, and after them its last one, which says that the others are whole,
        if that is not there yet. Returns for each result the error that has kept it from being published:
        FileExistsError if its last file is there."""

    def close(self) -> None:
        """Ends what it works with."""
