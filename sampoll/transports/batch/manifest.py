"""The images that a manifest names."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from os import fsencode

from sampoll.core.errors import InputUnavailable
from sampoll.core.events import PassedOver
from sampoll.core.filenames import split_name
from sampoll.core.names import folder_of, printable
from sampoll.core.shards import WHOLE, Shard
from sampoll.inputs.manifest import ListedImage
from sampoll.spool.selection import ALL_PAIRS, Selection
from sampoll.transports.batch.work import FolderWork, FoundWork, Work

MAX_TOGETHER = 1000
"""How many images of one folder are compared with the output at the same time."""


class ManifestSource:
    """The images of a manifest that messages call `shown`, those of a folder together as far as they are in
    the manifest. Without `needs_prompt`, an image may have none.

    Memory grows by a number for each image of `shard`: a second group of lines about one is refused.
    """

    def __init__(
        self,
        images: Iterable[ListedImage],
        shown: str,
        *,
        shard: Shard = WHOLE,
        needs_prompt: bool = True,
        selection: Selection = ALL_PAIRS,
    ) -> None:
        self._images = images
        self._shown = shown
        self._shard = shard
        self._needs_prompt = needs_prompt
        self._selection = selection
        self._seen: set[int] = set()

    def found(self) -> Iterator[FoundWork]:
        folder = ""
        work: list[Work] = []
        halves: list[str] = []
        for image in self._images:
            if not image.name:
                assert image.error is not None
                yield PassedOver(f"{self._shown}: {image.place}", image.error)
                continue
            stem = split_name(image.name)[0]
            if not self._shard.has(stem) or not self._selection.takes([image.name]):
                continue
            self._note(stem, image)
            if folder_of(stem) != folder or len(work) + len(halves) >= MAX_TOGETHER:
                yield FolderWork(folder, work, halves)
                folder, work, halves = folder_of(stem), [], []
            if self._needs_prompt and image.prompts is None and image.error is None:
                halves.append(stem)
            else:
                work.append(self._work(stem, image))
        yield FolderWork(folder, work, halves)

    def _note(self, stem: str, image: ListedImage) -> None:
        number = int.from_bytes(blake2b(fsencode(stem), digest_size=8).digest())
        if number in self._seen:
            raise InputUnavailable(
                f"{self._shown}: {image.place}: {printable(image.name)} was there before: the lines of an "
                "image must be together, and each image needs a name of its own, whatever its extension"
            )
        self._seen.add(number)

    def _work(self, stem: str, image: ListedImage) -> Work:
        return Work(
            stem,
            image.name,
            prompts=image.prompts,
            prompts_from=self._shown,
            stated_size=image.size,
            error=image.error,
        )
