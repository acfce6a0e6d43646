"""What is to be done, as a source names it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from sampoll.core.errors import JobError
from sampoll.core.events import PassedOver
from sampoll.core.filenames import publishable
from sampoll.core.names import base_name, folder_of


@dataclass(frozen=True, slots=True)
class Work:
    """One image, and its prompt: `stem` is the path of the image in the source without its extension.

    `prompt` is the path of a prompt file, None for an image without one; `prompts` is the content of one, if
    it comes from elsewhere, from a place that messages call `prompts_from`. `image_bytes` is None if the size
    is not known; `stated_size` is the (H, W) that it must have, if that is known. With an `error`, it cannot
    be done, and fails.
    """

    stem: str
    image: str
    prompt: str | None = None
    image_bytes: int | None = None
    prompts: bytes | None = field(default=None, repr=False)
    prompts_from: str = ""
    stated_size: tuple[int, int] | None = None
    error: JobError | None = None

    @property
    def name(self) -> str:
        """The path of its result, without suffixes."""
        return joined(folder_of(self.stem), publishable(base_name(self.stem)))

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files."""
        return tuple(base_name(path) for path in (self.prompt, self.image) if path)


@dataclass(frozen=True, slots=True)
class FolderWork:
    """The work in one folder, or a part of it, and the stems of images without prompts, and of prompts
    without images."""

    folder: str
    work: Sequence[Work]
    halves: Sequence[str] = ()


FoundWork: TypeAlias = FolderWork | PassedOver


class WorkSource(Protocol):
    """Where the work comes from."""

    def found(self) -> Iterator[FoundWork]:
        """All work, folder by folder, and what cannot be read."""


def joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
