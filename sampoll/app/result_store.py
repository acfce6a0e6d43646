"""The results in an output directory, found by their records."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from sampoll.core.filenames import is_ignored
from sampoll.core.names import RECORD_SUFFIX, base_name, printable
from sampoll.core.results import Segmentation
from sampoll.files.files import files_below, opened_regular, read_regular
from sampoll.formats.opex_reader import labels_of, segmentation_of

log = logging.getLogger(__name__)

T = TypeVar("T")

OPEX_BEGINS_WITH = b'{"id":'
"""How a record begins, whitespace removed; other JSON files, which may be large, are not read."""
FIRST_BYTES = 16


class CommittedResults:
    """Every committed result below `output` that existed when this object was made, in the order of their
    names."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._names = list(_names(output))
        self.unreadable: set[str] = set()
        """The names of results whose records could not be read."""

    def __len__(self) -> int:
        return len(self._names)

    @cached_property
    def labels(self) -> Sequence[str]:
        """All labels of prompts, sorted."""
        return sorted(set().union(*self._read(lambda record, _: labels_of(record))))

    def __iter__(self) -> Iterator[Segmentation]:
        known = frozenset(self.labels)
        for segmentation in self._read(segmentation_of):
            # A result that was replaced in the meantime may have labels that `labels` does not contain.
            if known.issuperset(prompt.label for prompt in segmentation.prompts):
                yield segmentation

    def records(self) -> Iterator[tuple[str, bytes]]:
        """The name of each result and the content of its record; skips records deleted in the meantime, and
        those that are `unreadable`."""
        for name in self._names:
            try:
                record = read_regular(self._output / (name + RECORD_SUFFIX))
            except FileNotFoundError:
                continue
            except OSError as error:
                self.leave_out(name, error.strerror or str(error))
                continue
            yield name, record

    def leave_out(self, name: str, reason: str) -> None:
        """Adds a result to the unreadable ones, and names it once."""
        if name not in self.unreadable:
            log.warning("%s is left out: %s", printable(name + RECORD_SUFFIX), reason)
            self.unreadable.add(name)

    def _read(self, reading: Callable[[bytes, str], T]) -> Iterator[T]:
        for name, record in self.records():
            try:
                result = reading(record, name)
            except ValueError as error:
                self.leave_out(name, str(error))
                continue
            yield result


def _names(output: Path) -> Iterator[str]:
    """The paths of records relative to the output, without their suffix, sorted."""
    for path in files_below(output, enters=lambda folder: not is_ignored(base_name(folder))):
        if path.name.endswith(RECORD_SUFFIX) and not is_ignored(path.name) and _begins_like_opex(path):
            yield path.relative_to(output).as_posix().removesuffix(RECORD_SUFFIX)


def _begins_like_opex(path: Path) -> bool:
    try:
        with opened_regular(path) as file:
            return b"".join(file.read(FIRST_BYTES).split()).startswith(OPEX_BEGINS_WITH)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # may be a record; reading it names the reason
