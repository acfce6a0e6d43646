"""Reserves names for results, and publishes them: all masks first, the record that commits them last."""

import errno
import glob
import itertools
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from sampoll.core.errors import OutputExists, is_refusal
from sampoll.core.filenames import versioned
from sampoll.core.names import RECORD_SUFFIX, printable
from sampoll.core.results import ResultSummary
from sampoll.files.files import (
    create_anew,
    ensure_directory,
    is_accessible,
    link_unless_taken,
    move_unless_taken,
    read_if_regular,
    read_regular,
    sync_directory,
)
from sampoll.spool.claims import Claim
from sampoll.spool.layout import Layout
from sampoll.spool.nodes import Node
from sampoll.spool.state import JobState


class OnExist(Enum):
    """What a job does when its result names are already taken in the output.

    VERSION publishes under the first version of the name that is free. REPLACE removes the earlier result of
    that name, the record first, and only files that its record lists; if another job has reserved a name, it
    publishes a version too. OVERWRITE is REPLACE for files of any origin. FAIL raises OutputExists.
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


def reserve(layout: Layout, claim: Claim, suffixes: Sequence[str], naming: Naming, *, sync: bool) -> Claim:
    """The claim with a stem under which no other job can publish any of `suffixes`; or OutputExists.

    It is saved before anything is published, so that a later attempt replaces what an earlier one may have
    left, instead of publishing a second version beside it.
    """
    before = claim.state
    ours = set(before.suffixes) if before.reserved else set()
    if ours.issuperset(suffixes):
        return replace(claim, replaceable=frozenset(ours))
    earlier = [] if before.stem is None else [before.stem]
    for stem in itertools.chain(earlier, (versioned(before.name, v) for v in itertools.count(1))):
        kept = ours if stem == before.stem else set()
        replaced = _replaceable(layout, replace(before, stem=stem), suffixes, naming)
        covered = kept | replaced
        # Files whose names the job holds, but which it does not publish, are removed when it publishes.
        all_suffixes = (*sorted(covered.difference(suffixes)), *suffixes)
        replaces = bool(replaced or (kept and before.replaces))
        chosen = replace(before, stem=stem, suffixes=all_suffixes, reserved=True, replaces=replaces)
        try:
            with _token(layout, chosen) as token:
                refused = (s for s in all_suffixes if not _is_reserved(layout, chosen, s, token, covered))
                taken = next(map(chosen.result, refused), None)
            if taken is None:
                is_anyones = naming.on_exist is OnExist.OVERWRITE and stem == before.name
                replaceable = frozenset(all_suffixes if is_anyones else covered)
                return replace(claim.saved(chosen, sync=sync), replaceable=replaceable)
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


def _replaceable(layout: Layout, state: JobState, suffixes: Sequence[str], naming: Naming) -> set[str]:
    """The suffixes of the published files of the state's stem that may be replaced: a record and the
    files that it lists; for OVERWRITE, any file of these names too."""
    if naming.on_exist not in (OnExist.REPLACE, OnExist.OVERWRITE) or state.stem != state.name:
        return set()
    record = suffixes[-1]
    anyones = set()
    if naming.on_exist is OnExist.OVERWRITE:
        paths = {suffix: layout.output / state.result(suffix) for suffix in suffixes}
        anyones = {s for s, path in paths.items() if os.path.lexists(path) and not path.is_dir()}
    content = read_if_regular(layout.output / state.result(record))
    replaced = None if content is None else naming.read_record(content, state.published_path)
    return anyones if replaced is None else {*anyones, record, *replaced.suffixes}


@contextmanager
def _token(layout: Layout, state: JobState) -> Iterator[Path]:
    """A file that contains the job's id. Reservations are links to it, so each contains the id of its owner
    from the first moment."""
    # The directory is not made here: it is missing if a mount has gone, and names below it reserve nothing.
    token = layout.names / f".{state.job_id}"
    create_anew(token, state.job_id.encode("ascii"), sync=False)
    try:
        yield token
    finally:
        token.unlink()


def _is_reserved(layout: Layout, state: JobState, suffix: str, token: Path, covered: Collection[str]) -> bool:
    """Reserves one name of the chosen stem, unless another job holds it or it is published, not covered."""
    reservation = layout.names / state.result(suffix)
    ensure_directory(reservation.parent)
    # An earlier attempt of the same job may hold it already.
    held = link_unless_taken(token, reservation) or _is_held(reservation, state)
    return held and (suffix in covered or not os.path.lexists(layout.output / state.result(suffix)))


def _is_held(reservation: Path, state: JobState) -> bool:
    """Whether this job holds a reservation."""
    return read_if_regular(reservation, at_most=MAX_RESERVATION_BYTES) == state.job_id.encode("ascii")


@dataclass(frozen=True)
class Staged:
    """The files of one result that wait for publication, the record last. Only files of the `replaceable`
    suffixes may be replaced in the output."""

    state: JobState
    suffixes: tuple[str, ...]
    stage: Path
    replaceable: frozenset[str] = frozenset()

    @property
    def new_masks(self) -> list[str]:
        """The suffixes of the files, except the record, that may replace nothing."""
        return [suffix for suffix in self.suffixes[:-1] if suffix not in self.replaceable]

    @property
    def replacing_masks(self) -> list[str]:
        """The suffixes of the files, except the record, that may replace earlier ones."""
        return [suffix for suffix in self.suffixes[:-1] if suffix in self.replaceable]

    def waiting(self, suffix: str) -> Path:
        """Where the file of this suffix waits to be published."""
        return self.stage / f"{self.state.job_id}{suffix.replace('/', '')}"


def stage(node: Node, claim: Claim, contents: Sequence[tuple[str, bytes]], *, sync: bool) -> Staged:
    """Writes (suffix, content) pairs into the stage, where readers of the output do not see them."""
    suffixes = tuple(suffix for suffix, _ in contents)
    staged = Staged(claim.state, suffixes, node.stage, claim.replaceable)
    for suffix, content in contents:
        create_anew(staged.waiting(suffix), content, sync=sync)
    return staged


class NameTaken(FileExistsError):
    """Another program has taken a name in the output since it was reserved; `filename` is relative to it."""


def publish(layout: Layout, results: Sequence[Staged], *, sync: bool) -> dict[str, OSError]:
    """Publishes the staged files of several jobs: every mask, and then the last file of each, its record.

    Returns by job id the errors of those that cannot be published because of a path of their own: NameTaken,
    or the system's refusal, such as for a folder that may not be written. Nothing of these stays in the
    output. A node whose stage was taken away cannot publish: its renames find no source.
    """
    refused: dict[str, OSError] = {}

    def each(act: Callable[[Layout, Staged], list[Path]]) -> None:
        changed = []
        for result in (r for r in results if r.state.job_id not in refused):
            try:
                changed += act(layout, result)
            except OSError as error:
                if not is_refusal(error):
                    raise
                refused[result.state.job_id] = error
                _withdraw(layout, result)
        _sync_folders_of(changed, sync=sync)

    each(_prepare)
    # What replaces nothing comes first: until then, the earlier result is whole.
    each(lambda layout, result: _publish(layout, result, result.new_masks))
    each(lambda layout, result: _retract(layout, result) if _has_outdated(result) else [])
    each(lambda layout, result: _publish(layout, result, result.replacing_masks))
    each(lambda layout, result: _publish(layout, result, result.suffixes[-1:]))
    return refused


def _prepare(layout: Layout, result: Staged) -> list[Path]:
    """Makes the folders of a result, and checks that they can be written."""
    for folder in {(layout.output / result.state.result(suffix)).parent for suffix in result.suffixes}:
        ensure_directory(folder)
        # It has to be readable too in order to be synced.
        if not is_accessible(folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(folder))
    return []


def _publish(layout: Layout, result: Staged, suffixes: Iterable[str]) -> list[Path]:
    """Moves the staged files of these suffixes into the output; returns their paths there. NameTaken for a
    file that is there already and may not be replaced."""
    paths = []
    for suffix in suffixes:
        name = result.state.result(suffix)
        source, path = result.waiting(suffix), layout.output / name
        if suffix in result.replaceable:
            source.rename(path)
        elif not move_unless_taken(source, path):
            raise NameTaken(errno.EEXIST, os.strerror(errno.EEXIST), name)
        paths.append(path)
    return paths


def _withdraw(layout: Layout, result: Staged) -> None:
    """Removes the files of a result; those that are published are first moved back to the stage, as in
    `_retract`."""
    for suffix in result.suffixes:
        waiting = result.waiting(suffix)
        with suppress(OSError):
            if not os.path.lexists(waiting):
                (layout.output / result.state.result(suffix)).rename(waiting)
            waiting.unlink()


def _has_outdated(result: Staged) -> bool:
    """Whether the output may contain files under this job's names that do not belong to this result: those of
    the result that it replaces, or of an interrupted attempt that had more masks."""
    return result.state.replaces or len(result.state.suffixes) > len(result.suffixes)


def _retract(layout: Layout, result: Staged) -> list[Path]:
    """Removes outdated files from the output, the record first, then masks that no new ones will replace;
    returns their paths.

    They are first moved to this node's stage. A node whose jobs were taken over has no stage any more, so it
    cannot remove what its successor has published.
    """
    masks = [suffix for suffix in result.state.suffixes if suffix not in result.suffixes]
    trash = result.waiting(".outdated")
    paths = [layout.output / result.state.result(suffix) for suffix in (result.suffixes[-1], *masks)]
    for path in paths:
        # An interrupted attempt has removed it; or the stage is gone, and then publishing will fail.
        with suppress(FileNotFoundError):
            path.rename(trash)
    trash.unlink(missing_ok=True)
    return [path for path in paths if path.parent.is_dir()]


def _sync_folders_of(paths: Iterable[Path], *, sync: bool) -> None:
    for folder in {path.parent for path in paths} if sync else ():
        sync_directory(folder)


def is_committed(layout: Layout, claim: Claim) -> bool:
    """Whether the published record under this job's name is the job's own."""
    return claim.state.job_id.encode() in published_record(layout, claim)


def published_record(layout: Layout, claim: Claim) -> bytes:
    """The record that is published under the name of this job, be it another's; empty if there is none."""
    state = claim.state
    if state.stem is None or not state.suffixes:
        return b""
    return read_if_regular(layout.output / state.result(state.suffixes[-1])) or b""


def first_version(
    layout: Layout, path: str, match: Callable[[bytes, str], ResultSummary | None]
) -> tuple[str, ResultSummary] | None:
    """Of the results that are published as `path` and its versions, the name and the summary of the first
    that is a `match`, given the content of its record and its name."""
    for version in itertools.count(1):
        name = versioned(path, version)
        try:
            content = read_regular(layout.output / f"{name}{RECORD_SUFFIX}")
        except OSError:  # there are no more versions; or the file is no record of ours
            return None
        if (summary := match(content, name)) is not None:
            return name, summary
    raise AssertionError("there are infinitely many versions")


def free_names(layout: Layout, state: JobState) -> None:
    """Ends the reservation, which may be incomplete: frees only names that this job holds. From now on, the
    published files themselves hold the names."""
    for suffix in state.suffixes:
        reservation = layout.names / state.result(suffix)
        if _is_held(reservation, state):
            reservation.unlink(missing_ok=True)


def free_abandoned_names(layout: Layout, state: JobState) -> None:
    """Frees the names that an interrupted attempt had begun to reserve."""
    (layout.names / f".{state.job_id}").unlink(missing_ok=True)
    # The folders of formats are one level above.
    for folder in (layout.names / state.folder, *layout.names.glob(f"*/{glob.escape(state.folder)}")):
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            for entry in entries:
                if _is_held(Path(entry), state):
                    Path(entry).unlink()


def remove_stage(stage: Path, *, leftovers: Path) -> None:
    """Removes the stage of a node that has died; what sampoll did not write there is kept as `leftovers`."""
    _clear(stage)
    with suppress(OSError):
        stage.rename(leftovers)


def _clear(stage: Path) -> None:
    if stage.is_symlink():
        return
    with suppress(OSError), os.scandir(stage) as entries:
        for entry in entries:
            path = Path(entry)
            if entry.is_dir(follow_symlinks=False):
                _clear(path)
            elif entry.is_file(follow_symlinks=False) and re.match(r"[0-9a-f]{32}[^.]*\.", entry.name):
                path.unlink()
    with suppress(OSError):
        stage.rmdir()
