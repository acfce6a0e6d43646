"""Reserves names for results: those that another job could choose too, and only until they are published."""

import errno
import glob
import itertools
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from sampoll.core.errors import OutputExists
from sampoll.core.filenames import versioned
from sampoll.core.names import folder_of, has_other_owners, printable, result_path
from sampoll.core.results import ResultSummary
from sampoll.files.files import StrPath, create_anew, ensure_below, move_unless_taken, read_if_regular
from sampoll.spool.claims import Claim
from sampoll.spool.layout import Layout
from sampoll.spool.state import JobState


class OnExist(Enum):
    """What a job does when its result names are already taken in the output.

    VERSION publishes under the first version of the name that is free. REPLACE removes the earlier result of
    that name, the record first, and only files that its record lists; if another job has reserved a name, it
    publishes a version too. OVERWRITE is REPLACE for files of any origin, except those of other results. FAIL
    raises OutputExists.
    """

    VERSION = "version"
    REPLACE = "replace"
    OVERWRITE = "overwrite"
    FAIL = "fail"


ReadRecord: TypeAlias = Callable[[bytes, str], ResultSummary | None]
"""Reads the record of a result, given its content and the result's path; None if it is no record."""


@dataclass(frozen=True)
class Naming:
    """How names are chosen for results, and how records of earlier ones are read."""

    on_exist: OnExist = OnExist.VERSION
    read_record: ReadRecord = lambda record, path: None


VERSIONED = Naming()

MAX_RESERVATION_BYTES = 64
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""The errors of making a link where the filesystem, or the system, has none."""


def reserve(layout: Layout, claim: Claim, suffixes: Sequence[str], naming: Naming) -> Claim:
    """The claim with a stem under which no other job can publish any of `suffixes`; or OutputExists.

    It has to be saved before anything is published, so that a later attempt replaces what an earlier one may
    have left, instead of publishing a second version beside it.
    """
    before = claim.state
    ours = set(before.suffixes) if before.reserved else set()
    if ours.issuperset(suffixes):
        return replace(claim, replaceable=frozenset(ours))
    earlier = [] if before.stem is None else [before.stem]
    for stem in itertools.chain(earlier, (versioned(before.name, v) for v in itertools.count(1))):
        kept = ours if stem == before.stem else set()
        replaced = set() if stem != before.name else _replaceable(layout, before.path, suffixes, naming)
        covered = kept | replaced
        # Files whose names the job holds, but which it does not publish, are removed when it publishes.
        all_suffixes = (*sorted(covered.difference(suffixes)), *suffixes)
        replaces = bool(replaced or (kept and before.replaces))
        chosen = replace(before, stem=stem, suffixes=all_suffixes, reserved=True, replaces=replaces)
        try:
            taken = _not_reserved(layout, chosen) or _published(layout, chosen, covered)
            if taken is None:
                is_anyones = naming.on_exist is OnExist.OVERWRITE and stem == before.name
                replaceable = frozenset(all_suffixes if is_anyones else covered)
                return replace(claim, state=chosen, replaceable=replaceable)
        except OSError:
            free_names(layout, chosen)
            raise
        free_names(layout, chosen)
        if naming.on_exist is OnExist.FAIL:
            raise OutputExists(
                f"{printable(taken)} is in the output already (--on-exist fail): move it away, or use "
                "--on-exist version or replace"
            )
    raise AssertionError("there are infinitely many versions")


def _replaceable(layout: Layout, path: str, suffixes: Sequence[str], naming: Naming) -> set[str]:
    """The suffixes of the files that are published as `path` and may be replaced: a record and the files that
    it lists; for OVERWRITE, any file of these names too."""
    if naming.on_exist not in (OnExist.REPLACE, OnExist.OVERWRITE):
        return set()
    record = suffixes[-1]
    anyones = set()
    if naming.on_exist is OnExist.OVERWRITE:
        files = {suffix: layout.output / result_path(path, suffix) for suffix in suffixes}
        anyones = {
            suffix
            for suffix, file in files.items()
            if os.path.lexists(file)
            and not file.is_dir()
            and not _is_of_another(layout, path, result_path(path, suffix), record)
        }
    content = read_if_regular(layout.output / result_path(path, record))
    replaced = None if content is None else naming.read_record(content, path)
    return anyones if replaced is None else {*anyones, record, *replaced.suffixes}


def _is_of_another(layout: Layout, path: str, name: str, record: str) -> bool:
    """Whether a file of the output may be one of another result than `path`: the record of that is there."""
    owner, dot, _ = name.rpartition(".")
    while dot:
        if owner != path and os.path.lexists(layout.output / result_path(owner, record)):
            return True
        owner, dot, _ = owner.rpartition(".")
    return False


def _not_reserved(layout: Layout, state: JobState) -> str | None:
    """Reserves the names of the chosen stem, as far as another job could choose them too; returns the first
    that another job holds."""
    *others, record = state.suffixes
    names = (state.result(record), *filter(has_other_owners, map(state.result, others)))
    return next((name for name in names if not _is_reserved(layout, state, name)), None)


def _published(layout: Layout, state: JobState, covered: set[str]) -> str | None:
    """The first file of the chosen stem that is in the output already and is not covered."""
    uncovered = (state.result(suffix) for suffix in state.suffixes if suffix not in covered)
    return next((name for name in uncovered if os.path.lexists(f"{layout.output}/{name}")), None)


def _is_reserved(layout: Layout, state: JobState, name: str) -> bool:
    """Reserves a name; False if another job holds it. An earlier attempt of this job may hold it already.

    A reservation is a link that leads nowhere, made exclusively: what it holds is the id of its owner, from
    the first moment, and there is no content that would have to be written and freed.
    """
    reservation = f"{layout.names}/{name}"
    if "/" in name:
        # `names` itself is not made: it is missing if a mount has gone, and names below it reserve nothing.
        ensure_below(layout.names, layout.names / folder_of(name))
    try:
        os.symlink(state.job_id, reservation)
    except FileExistsError:
        return _is_held(reservation, state)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _is_reserved_by_a_file(layout, state, reservation)
    return True


def _is_reserved_by_a_file(layout: Layout, state: JobState, reservation: str) -> bool:
    """The same on filesystems without links: a file that holds the job's id."""
    file = layout.names / f".{state.job_id}"
    create_anew(file, state.job_id.encode("ascii"), sync=False)
    if move_unless_taken(file, reservation):
        return True
    file.unlink()
    return _is_held(reservation, state)


def _is_held(reservation: StrPath, state: JobState) -> bool:
    """Whether this job holds a reservation: a link, or a file as earlier versions of sampoll made them."""
    try:
        return os.readlink(reservation) == state.job_id
    except FileNotFoundError:
        return False
    except OSError:  # no link
        return read_if_regular(reservation, at_most=MAX_RESERVATION_BYTES) == state.job_id.encode("ascii")


def free_names(layout: Layout, state: JobState) -> None:
    """Ends the reservation, which may be incomplete: frees only names that this job holds. From now on, the
    published files themselves hold the names."""
    for suffix in state.suffixes:  # earlier versions of sampoll reserved all names
        reservation = f"{layout.names}/{state.result(suffix)}"
        if _is_held(reservation, state):
            with suppress(FileNotFoundError):
                os.unlink(reservation)


def free_abandoned_names(layout: Layout, state: JobState) -> None:
    """Frees the names that an interrupted attempt had reserved, except those that were saved."""
    (layout.names / f".{state.job_id}").unlink(missing_ok=True)
    saved = {layout.names / state.result(suffix) for suffix in state.suffixes}
    # The folders of formats are one level above.
    for folder in (layout.names / state.folder, *layout.names.glob(f"*/{glob.escape(state.folder)}")):
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            for path in map(Path, entries):
                if path not in saved and _is_held(path, state):
                    path.unlink()
