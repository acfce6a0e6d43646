"""The images of a folder, for a page: listed once, in a thread, and handed out in parts."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Lock, Thread

from sampoll.core.errors import BadRequest
from sampoll.core.filenames import is_ignored, is_image, is_prompt, is_searched, split_name
from sampoll.core.names import printable
from sampoll.files.files import walk


class Progress(StrEnum):
    """How far the annotation of an image is: nothing, a draft, or a prompt file beside it."""

    NEW = "new"
    DRAFT = "draft"
    DONE = "done"


@dataclass(frozen=True)
class Row:
    """An image of the list. `number` is its place among all images, from 0, which never changes."""

    number: int
    name: str
    progress: Progress


@dataclass(frozen=True)
class Rows:
    """Some rows of all that were looked for. `is_complete` is false while the folder is still being read."""

    rows: Sequence[Row]
    total: int
    is_complete: bool


@dataclass(frozen=True)
class Question:
    """Which images are looked for: those whose path contains `search`, in any case, and, if `unfinished`,
    that are not done."""

    search: str = ""
    unfinished: bool = False


class ImageFolder:
    """The images of `directory`, sorted by their paths in it. Thread-safe."""

    def __init__(self, directory: Path, *, recursive: bool) -> None:
        self.directory = directory
        self._recursive = recursive
        self._paths: list[str] = []
        self._names: list[str] = []
        self._folded: list[str] = []
        self._progress: list[Progress] = []
        self._twins: dict[int, str] = {}
        self._has_draft: Callable[[str], bool] = lambda _: False
        self._lock = Lock()
        self._version = 0
        self._last: tuple[Question, int, list[int]] | None = None
        self._thread = Thread(target=self._read, name="images", daemon=True)
        self._is_complete = False

    def start(self, has_draft: Callable[[str], bool]) -> None:
        """Begins to read the folder; `has_draft` says whether an image, by its path, has a draft."""
        self._has_draft = has_draft
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether the folder is read; waits so long for it."""
        self._thread.join(seconds)
        return self._is_complete

    def rows(self, question: Question, first: int, count: int) -> Rows:
        """Up to `count` rows of those that are looked for, from the one with the index `first`."""
        with self._lock:
            found = self._found(question)
            return Rows(
                [self._row(number) for number in found[first : first + count]], len(found), self._is_complete
            )

    def neighbour(self, number: int, step: int, question: Question) -> tuple[Row, int] | None:
        """The next image after this one, or before it with a negative step, that is looked for, and its
        index; None at the end."""
        with self._lock:
            found = self._found(question)
            after = [index for index, each in enumerate(found) if (each - number) * step > 0]
            if not after:
                return None
            index = after[0] if step > 0 else after[-1]
            return self._row(found[index]), index

    def path_of(self, number: int) -> str:
        """The path of an image below the folder; BadRequest if there is no such image."""
        if not 0 <= number < len(self._paths):
            raise BadRequest(f"there is no image {number}")
        return self._paths[number]

    def twin_of(self, number: int) -> str | None:
        """The path of another image with the same stem, and so with the same prompt file."""
        return self._twins.get(number)

    def note(self, number: int, progress: Progress) -> None:
        """Enters how far an image is."""
        with self._lock:
            if self._progress[number] != progress:
                self._progress[number] = progress
                self._version += 1

    @property
    def counts(self) -> dict[str, int]:
        """The number of images, and of those that are done."""
        done = sum(each is Progress.DONE for each in self._progress)
        return {"images": len(self._paths), "done": done}

    def _found(self, question: Question) -> list[int]:
        """The numbers of the images that are looked for, sorted."""
        if self._last is None or self._last[:2] != (question, self._version):
            wanted = question.search.casefold()
            numbers = [
                number
                for number, folded in enumerate(self._folded)
                if wanted in folded and not (question.unfinished and self._progress[number] is Progress.DONE)
            ]
            self._last = question, self._version, numbers
        return self._last[2]

    def _row(self, number: int) -> Row:
        return Row(number, self._names[number], self._progress[number])

    def _read(self) -> None:
        found = sorted(self._images())
        paths = [path for path, _ in found]
        names = [printable(path) for path in paths]
        folded = [name.casefold() for name in names]
        progress = [
            Progress.DRAFT if self._has_draft(path) else Progress.DONE if has_prompt else Progress.NEW
            for path, has_prompt in found
        ]
        twins = _twins_among(paths)
        with self._lock:
            self._paths, self._names, self._folded, self._progress = paths, names, folded, progress
            self._twins = twins
            self._version += 1
            self._is_complete = True

    def _images(self) -> Iterator[tuple[str, bool]]:
        """The path of each image, and whether a prompt file is beside it."""

        def enters(path: str) -> bool:
            return self._recursive and is_searched(path)

        for folder, entries in walk(self.directory, enters=enters):
            names = [entry.name for entry in entries if not is_ignored(entry.name)]
            prompted = {split_name(name)[0] for name in names if is_prompt(name)}
            for name in names:
                if is_image(name):
                    yield (f"{folder}/{name}" if folder else name), split_name(name)[0] in prompted


def _twins_among(paths: Sequence[str]) -> dict[int, str]:
    """For each image that shares its stem with another one, the path of that."""
    by_stem: dict[str, list[int]] = defaultdict(list)
    for number, path in enumerate(paths):
        by_stem[split_name(path)[0]].append(number)
    return {
        number: paths[next(other for other in numbers if other != number)]
        for numbers in by_stem.values()
        if len(numbers) > 1
        for number in numbers
    }
