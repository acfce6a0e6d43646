"""The pairs in a tree of files, folder by folder, and without reading a file."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sampoll.core.errors import AmbiguousPair, InputUnavailable, UnreadableInput
from sampoll.core.events import PassedOver
from sampoll.core.filenames import (
    PAIR_SUFFIXES,
    is_image,
    is_prompt,
    is_users_folder,
    split_name,
    takes_part,
)
from sampoll.core.names import printable
from sampoll.files.stores.store import Store
from sampoll.spool.selection import ALL_PAIRS, Selection
from sampoll.transports.batch.work import FolderWork, FoundWork, Work, joined


@dataclass(frozen=True)
class Pairing:
    """Which files make a pair: those with one stem, an image and a prompt. Without `needs_prompt`, an image
    alone is enough. An empty file counts as not there."""

    suffixes: Collection[str] = PAIR_SUFFIXES
    needs_prompt: bool = True
    selection: Selection = ALL_PAIRS

    def work_in(self, folder: str, sizes: Mapping[str, int]) -> FolderWork:
        """The pairs among the files of a folder, which come with their sizes in bytes."""
        by_stem: dict[str, list[str]] = {}
        for name in sorted(sizes):
            if takes_part(name, self.suffixes, None):
                by_stem.setdefault(split_name(name)[0], []).append(name)
        work, halves = [], []
        for stem, names in by_stem.items():
            if not self.selection.takes(joined(folder, name) for name in names):
                continue
            path = joined(folder, stem)
            found = self._work(path, folder, names, sizes)
            if found is None:
                halves.append(path)
            else:
                work.append(found)
        return FolderWork(folder, work, halves)

    def _work(self, stem: str, folder: str, names: Sequence[str], sizes: Mapping[str, int]) -> Work | None:
        """The work of one stem; None for a half pair."""
        images = [name for name in names if is_image(name) and sizes[name]]
        prompts = [name for name in names if is_prompt(name) and sizes[name]]
        has_prompt = prompts or not (self.needs_prompt or any(map(is_prompt, names)))
        if not images or not has_prompt:
            return None
        image, *more_images = images
        prompt_path = joined(folder, prompts[0]) if prompts else None
        error = None
        if more_images or len(prompts) > 1:
            shown = ", ".join(map(printable, (*images, *prompts)))
            error = AmbiguousPair(
                f"{shown} share one stem: give all but one image and one prompt other names"
            )
        return Work(stem, joined(folder, image), prompt_path, sizes[image], error=error)


class TreeSource:
    """The pairs in all folders of a store."""

    def __init__(self, store: Store, pairing: Pairing) -> None:
        self._store = store
        self._pairing = pairing

    def found(self) -> Iterator[FoundWork]:
        pending = [""]
        while pending:
            folder = pending.pop()
            try:
                listing = self._store.listing(folder)
            except OSError as error:
                if not folder:
                    raise InputUnavailable(
                        f"{printable(self._store.address)} cannot be listed: {error.strerror}"
                    ) from error
                yield PassedOver(f"{folder}/", UnreadableInput(f"cannot be listed: {error.strerror}"))
                continue
            below = (joined(folder, name) for name in listing.folders)
            pending += sorted(filter(is_users_folder, below), reverse=True)
            yield self._pairing.work_in(folder, listing.files)
