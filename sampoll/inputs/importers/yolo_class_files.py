"""Where the names of the classes of a YOLO data set are."""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from pathlib import Path

from sampoll.core.errors import BadPrompt, InputUnavailable
from sampoll.inputs.importers.yolo_classes import (
    Classes,
    described,
    describes_classes,
    images_elsewhere,
    listed,
)

DESCRIPTIONS = ("data.yaml", "data.yml")
DESCRIPTION_SUFFIXES = (".yaml", ".yml")
LISTS = ("classes.txt", "_darknet.labels")
"""Lists of names that tools write beside the labels."""
LIST_SUFFIX = ".names"
FOLDERS_ABOVE = 2
"""How far above the labels that are imported a data.yaml is looked for that could belong to them."""


def is_description(path: Path) -> bool:
    return path.suffix.lower() in DESCRIPTION_SUFFIXES


def is_list(path: Path) -> bool:
    return path.name.lower() in LISTS or path.suffix.lower() == LIST_SUFFIX


class ClassFiles:
    """The classes of the folders of a data set: those of `given`, a data.yaml, if there is one; otherwise
    those of the nearest data.yaml, in the folder or above it, up to `top`; otherwise those of the nearest
    list.
    """

    def __init__(self, top: Path, given: Path | None) -> None:
        self._top = top
        self._given = described(given) if given else None
        self._described, self._listed = cache(_described_in), cache(_listed_in)
        self._problems: dict[str, BadPrompt] = {}

    @property
    def problems(self) -> Collection[BadPrompt]:
        """An error for each thing that an import with the classes returned so far loses."""
        return self._problems.values()

    def of(self, folder: Path) -> Classes | None:
        """None if nothing names them; InputUnavailable if a file that should does not, or files disagree."""
        description = self._given or self._nearest(folder, self._described)
        names = self._nearest(folder, self._listed)
        if description is None:
            self._note(*(names.problems() if names else self._out_of_reach()))
            return names
        self._note(*description.problems(), *images_elsewhere(description.file))
        if names and names.differs(description):
            self._note(
                BadPrompt(
                    f"names classes differently from {description.file}, which counts", file=str(names.file)
                )
            )
        return description

    def _nearest(self, folder: Path, classes_in: Callable[[Path], Classes | None]) -> Classes | None:
        place = folder
        while (found := classes_in(place)) is None and place not in (self._top, place.parent):
            place = place.parent
        return found

    def _out_of_reach(self) -> Iterator[BadPrompt]:
        for folder in self._top.parents[:FOLDERS_ABOVE]:
            for path in filter(Path.is_file, map(folder.joinpath, DESCRIPTIONS)):
                yield BadPrompt(
                    f"is not used, because it is above {self._top}: give it as SOURCE", file=str(path)
                )

    def _note(self, *problems: BadPrompt) -> None:
        """Adds each problem once, though several folders have it."""
        self._problems.update({str(problem): problem for problem in problems})


def _described_in(folder: Path) -> Classes | None:
    files = [path for path in _files_in(folder) if is_description(path)]
    usual = [path for path in files if path.name in DESCRIPTIONS]
    return _only([described(path) for path in usual or filter(describes_classes, files)], folder)


def _listed_in(folder: Path) -> Classes | None:
    return _only([listed(path) for path in _files_in(folder) if is_list(path)], folder)


def _files_in(folder: Path) -> Sequence[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    except OSError:  # a folder above that may not be read
        return []


def _only(found: Sequence[Classes], folder: Path) -> Classes | None:
    for other in found[1:]:
        if other.names != found[0].names:
            raise InputUnavailable(
                f"{folder} names the classes in several files, which differ: "
                f"{', '.join(each.file.name for each in found)}; keep one, or give the right one as SOURCE"
            )
    return found[0] if found else None
