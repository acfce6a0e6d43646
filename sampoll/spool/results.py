"""Names for results, and their publication: every mask first, the record that commits them last."""

import itertools
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from sampoll.errors import OutputExists
from sampoll.naming import printable
from sampoll.spool.claims import Claim
from sampoll.spool.files import create_file, move_unless_taken, read_regular, remove_tree, sync_directory
from sampoll.spool.layout import Layout, versioned
from sampoll.spool.nodes import Node
from sampoll.spool.state import JobState


class OnExist(Enum):
    """What a job does whose names are taken in the output.

    VERSION publishes under the first version of the name that is free. REPLACE takes the result that has the
    name away, the record first, and no file that its record does not list; where another job holds a name, it
    is versioned too. FAIL is an OutputExists.
    """

    VERSION = "version"
    REPLACE = "replace"
    FAIL = "fail"


ListedSuffixes: TypeAlias = Callable[[bytes], Collection[str] | None]
"""Which files, by their suffixes, a record's content lists; None if it is no record."""


@dataclass(frozen=True)
class Naming:
    """How names are chosen for results, and how records of earlier ones are read."""

    on_exist: OnExist = OnExist.VERSION
    listed_suffixes: ListedSuffixes = lambda record: None


VERSIONED = Naming()


def reserve(layout: Layout, claim: Claim, suffixes: Sequence[str], naming: Naming, *, sync: bool) -> Claim:
    """The claim with a stem under which no other job can publish any of `suffixes`; or OutputExists.

    It is saved before anything is published, so that a later attempt replaces what an earlier one may have
    left, instead of publishing a second version beside it; and before it is reserved, so that no reservation
    is ever forgotten.
    """
    before = claim.state
    ours = set(before.suffixes) if before.reserved else set()
    if ours.issuperset(suffixes):
        return claim
    if not before.reserved:
        free_names(layout, claim)  # what an attempt that was cut off had begun to reserve
    earlier = [] if before.stem is None else [before.stem]
    for stem in itertools.chain(earlier, (versioned(before.name, v) for v in itertools.count(1))):
        kept = ours if stem == before.stem else set()
        replaced = _replaceable(layout, before, stem, suffixes[-1], naming)
        covered = kept | replaced
        # Whatever the job holds the name of and does not publish is removed when it publishes the rest.
        all_suffixes = (*sorted(covered.difference(suffixes)), *suffixes)
        chosen = replace(
            before,
            stem=stem,
            suffixes=all_suffixes,
            reserved=False,
            replaces=bool(replaced or (kept and before.replaces)),
        )
        claim = claim.saved(chosen, sync=False)
        refused = (s for s in all_suffixes if not _is_reserved(layout, claim, s, ours=s in covered))
        if (taken := next(refused, None)) is None:
            return claim.saved(replace(chosen, reserved=True), sync=sync)
        free_names(layout, claim)
        if naming.on_exist is OnExist.FAIL:
            raise OutputExists(
                f"{printable(stem + taken)} is in the output already (--on-exist fail): move it away, or use "
                "--on-exist version or replace"
            )
    raise AssertionError("there are infinitely many versions")


def _replaceable(layout: Layout, state: JobState, stem: str, record: str, naming: Naming) -> set[str]:
    """The suffixes of the published files of this stem that may be replaced: a record and what it lists."""
    if naming.on_exist is not OnExist.REPLACE or stem != state.name:
        return set()
    try:
        listed = naming.listed_suffixes(read_regular(layout.output / state.folder / (stem + record)))
    except OSError:  # there is none; or it is a link, and no record of ours
        return set()
    return set() if listed is None else {record, *listed}


def _is_reserved(layout: Layout, claim: Claim, suffix: str, *, ours: bool) -> bool:
    """Reserves one name of the chosen stem, unless another job holds it, or it is published by others."""
    folder, name = claim.state.folder, f"{claim.state.stem}{suffix}"
    (layout.names / folder).mkdir(parents=True, exist_ok=True)
    reservation = layout.names / folder / name
    # Held perhaps by an attempt of this very job that was cut off.
    held = _create(reservation, claim.state.job_id) or _holder(reservation) == claim.state.job_id
    return held and (ours or not os.path.lexists(layout.output / folder / name))


def _create(reservation: Path, job_id: str) -> bool:
    """Makes a reservation that names its job from the first moment; False if there is one already."""
    whole = _unfinished(reservation, job_id)
    whole.write_text(job_id, encoding="ascii")
    if move_unless_taken(whole, reservation):
        return True
    whole.unlink()
    return False


def _unfinished(reservation: Path, job_id: str) -> Path:
    return reservation.with_name(f".{job_id}")


def _holder(reservation: Path) -> str | None:
    """The job that holds a reservation; None if it has just ended."""
    try:
        return reservation.read_text(encoding="ascii")
    except FileNotFoundError:
        return None


def stage(node: Node, claim: Claim, contents: Sequence[tuple[str, bytes]], *, sync: bool) -> list[Path]:
    """Writes (suffix, content) pairs where nobody looks, under the names that they will be published as."""
    directory = node.stage / claim.state.job_id
    remove_tree(directory)
    directory.mkdir()
    paths = [directory / f"{claim.state.stem}{suffix}" for suffix, _ in contents]
    for path, (_, content) in zip(paths, contents, strict=True):
        create_file(path, content, sync=sync)
    return paths


def publish(layout: Layout, staged: Sequence[tuple[Claim, Sequence[Path]]], *, sync: bool) -> None:
    """Publishes the staged files of several jobs: every mask, and then the last file of each, its record.

    A node whose stage was taken away cannot publish: its renames find no source.
    """
    folders = {claim.state.folder: layout.output / claim.state.folder for claim, _ in staged}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    outdated = [(claim.state, paths) for claim, paths in staged if _has_outdated(claim.state, paths)]
    for state, paths in outdated:
        _retract(state, folders[state.folder], paths)
    _sync_all({folders[state.folder] for state, _ in outdated}, sync=sync)
    for claim, (*masks, _) in staged:
        for path in masks:
            path.rename(folders[claim.state.folder] / path.name)
    _sync_all(folders.values(), sync=sync)
    for claim, (*_, record) in staged:
        record.rename(folders[claim.state.folder] / record.name)
    _sync_all(folders.values(), sync=sync)
    for _, (*_, record) in staged:
        record.parent.rmdir()


def _has_outdated(state: JobState, staged: Sequence[Path]) -> bool:
    """Whether files may be published under this job's names that do not belong to the result in hand: those
    of the result that it replaces, or of an attempt that was cut off and had more masks."""
    return state.replaces or len(state.suffixes) > len(staged)


def _retract(state: JobState, folder: Path, staged: Sequence[Path]) -> None:
    """Takes what is outdated out of sight: the record first, then masks that no new ones will replace.

    They go by way of this node's stage, so that a node whose jobs were taken over cannot retract what its
    successor has published.
    """
    *suffixes, record = state.suffixes
    names = {path.name for path in staged}
    outdated = [f"{state.stem}{suffix}" for suffix in suffixes if f"{state.stem}{suffix}" not in names]
    trash = staged[0].with_name(".outdated")
    for name in (f"{state.stem}{record}", *outdated):
        # Gone since an attempt that was cut off; or the stage is gone, which publishing finds out.
        with suppress(FileNotFoundError):
            (folder / name).rename(trash)
    trash.unlink(missing_ok=True)


def _sync_all(folders: Iterable[Path], *, sync: bool) -> None:
    for folder in folders if sync else ():
        sync_directory(folder)


def is_committed(layout: Layout, claim: Claim) -> bool:
    """Whether the record of this very job is published."""
    state = claim.state
    if state.stem is None or not state.suffixes:
        return False
    try:
        record = (layout.output / state.folder / (state.stem + state.suffixes[-1])).read_bytes()
    except FileNotFoundError:
        return False
    return state.job_id.encode() in record


def free_names(layout: Layout, claim: Claim) -> None:
    """Ends the reservation: from now on the published files themselves hold the names."""
    state = claim.state
    for suffix in state.suffixes:
        reservation = layout.names / state.folder / f"{state.stem}{suffix}"
        _unfinished(reservation, state.job_id).unlink(missing_ok=True)
        if _holder(reservation) == state.job_id:
            reservation.unlink()
