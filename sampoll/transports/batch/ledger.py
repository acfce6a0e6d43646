"""What an output says about jobs: which have a result, which have failed, and whose a name is."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import fsdecode

from sampoll.core.errors import OutputExists, OutputUnavailable, PermissionRefused
from sampoll.core.filenames import PRIVATE
from sampoll.core.names import RECORD_SUFFIX, has_other_owners, printable, result_path
from sampoll.files.stores.store import NamedContent, Store
from sampoll.spool.reports import ERROR_SUFFIX, error_report
from sampoll.spool.state import JobState
from sampoll.transports.batch.work import joined

OWN_FOLDER = f"{PRIVATE}/batch"
"""What is below it in the output is no result."""
FAILED_FOLDER = f"{OWN_FOLDER}/failed"
NAMES_FOLDER = f"{OWN_FOLDER}/names"
KEPT_FOLDERS = 16
"""A manifest may name images of a few folders in turns, whose listings are kept."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The names in a folder that have a result, or have failed; those that have failed are printable."""

    done: frozenset[str]
    failed: frozenset[str]


class Ledger:
    """The records of results, and reports of failures, in an output."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ended: OrderedDict[str, Ended] = OrderedDict()

    def ended_in(self, folder: str) -> Ended:
        """What had ended in a folder when it was first asked for."""
        if folder not in self._ended:
            while len(self._ended) >= KEPT_FOLDERS:
                self._ended.popitem(last=False)
            done = self._stems(folder, RECORD_SUFFIX)
            self._ended[folder] = Ended(
                done, self._stems(joined(FAILED_FOLDER, printable(folder)), ERROR_SUFFIX)
            )
        self._ended.move_to_end(folder)
        return self._ended[folder]

    def _stems(self, folder: str, suffix: str) -> frozenset[str]:
        with needed_in(self._store):
            files = self._store.listing(folder).files
        return frozenset(name.removesuffix(suffix) for name in files if name.endswith(suffix))

    def reserve(self, name: str, suffixes: Sequence[str]) -> None:
        """Makes the names of a result's files its own, as far as another result could have them too;
        OutputExists if one belongs to another. A name stays reserved, so that a repetition has it too."""
        folders = {suffix.partition("/")[0] for suffix in suffixes if "/" in suffix}
        paths = [path for s in suffixes if has_other_owners(path := result_path(name, s), folders)]
        owner = printable(name).encode()
        with needed_in(self._store):
            created = self._store.create_all([(_reservation_of(path), owner) for path in paths])
            for path in (path for path, is_new in zip(paths, created, strict=True) if not is_new):
                if (other := self._store.read(_reservation_of(path))) != owner:
                    shown = printable(other.decode(errors="replace"))
                    raise OutputExists(
                        f"{printable(path)} belongs to the result {shown}: rename one of the two images"
                    )

    def publish(self, results: Sequence[Sequence[NamedContent]]) -> list[OSError | None]:
        """Writes the files of results, as `Store.publish`."""
        return self._store.publish(results)

    def note_failure(self, job: JobState) -> None:
        """Writes a report about a job that has failed."""
        with needed_in(self._store):
            self._store.replace(_report_of(job.path), error_report(job))

    def forget_failure(self, name: str) -> None:
        with needed_in(self._store):
            self._store.delete(_report_of(name))


# Files of our own have names that every store takes, whatever is in the names of images.


def _report_of(name: str) -> str:
    return f"{FAILED_FOLDER}/{printable(name)}{ERROR_SUFFIX}"


def _reservation_of(path: str) -> str:
    return f"{NAMES_FOLDER}/{printable(path)}"


@contextmanager
def needed_in(store: Store) -> Iterator[None]:
    """For what no job can do without: an error of a path there is one of the output."""
    try:
        yield
    except OSError as error:
        kind = PermissionRefused if isinstance(error, PermissionError) else OutputUnavailable
        path = "" if error.filename is None else f"/{printable(fsdecode(error.filename))}"
        raise kind(f"the output {printable(store.address)}{path}: {error.strerror or error}") from error
