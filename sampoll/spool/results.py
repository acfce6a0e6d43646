"""Names for results, and their publication: every mask first, the record that commits them last."""

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from sampoll.spool.claims import Claim
from sampoll.spool.files import create_file, move_unless_taken, remove_tree, sync_directory
from sampoll.spool.layout import Layout, versioned
from sampoll.spool.nodes import Node


def reserve(layout: Layout, claim: Claim, suffixes: Sequence[str], *, sync: bool) -> Claim:
    """The claim with a stem under which no other job can publish any of `suffixes`.

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
        covered = ours if stem == before.stem else set()
        all_suffixes = (*(s for s in before.suffixes if s in covered and s not in suffixes), *suffixes)
        chosen = replace(before, stem=stem, suffixes=all_suffixes, reserved=False)
        claim = claim.saved(chosen, sync=False)
        if all(_is_reserved(layout, claim, suffix, ours=suffix in covered) for suffix in all_suffixes):
            return claim.saved(replace(chosen, reserved=True), sync=sync)
        free_names(layout, claim)
    raise AssertionError("there are infinitely many versions")


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
    for claim, (*masks, _) in staged:
        for path in masks:
            path.rename(folders[claim.state.folder] / path.name)
    _sync_all(folders.values(), sync=sync)
    for claim, (*_, record) in staged:
        record.rename(folders[claim.state.folder] / record.name)
    _sync_all(folders.values(), sync=sync)
    for _, (*_, record) in staged:
        record.parent.rmdir()


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
