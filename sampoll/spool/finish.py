"""Ends a job: moves its inputs to done/ or failed/, and frees its names."""

import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from sampoll.core.filenames import is_image, split_name, versioned
from sampoll.files.files import (
    create_anew,
    move_all_unless_taken,
    move_replacing,
    read_if_regular,
    sync_directory,
)
from sampoll.spool.claims import Claim
from sampoll.spool.layout import REPORT, Layout
from sampoll.spool.reports import ERROR_SUFFIX, MAX_REPORT_BYTES, error_report, refused_job
from sampoll.spool.reservations import free_names
from sampoll.spool.state import JobState

EnsureKept: TypeAlias = Callable[[Path], None]
"""Creates a directory of ended inputs if it is missing: `Layout.ensure_kept`, once for each of a group of
jobs."""


def finish(layout: Layout, claim: Claim, ensure_kept: EnsureKept) -> None:
    """Moves the inputs of a committed job to done/, or deletes them. Safe to repeat after any crash."""
    if layout.done is None or layout.deletes_images:
        for name in claim.files():
            if layout.done is None or is_image(name):
                (claim.directory / name).unlink()
    if layout.done is not None:
        keep = _move_replacing if layout.overwrites_done else _keep
        keep(claim, layout.done, ensure_kept)
    free_names(layout, claim.state)


def move_to_failed(layout: Layout, claim: Claim) -> None:
    """Moves the inputs of a rejected job to failed/, after an error report beside them. Safe to repeat.

    The report comes first: as its name can also be that of a prompt, the name is taken before the inputs get
    names of the same stem.
    """
    directory = layout.failed / claim.state.folder
    if not _has_report(directory, claim.state):
        create_anew(claim.directory / REPORT, error_report(claim.state), sync=True)
    _keep(claim, layout.failed, layout.ensure_kept, is_obvious=False)
    sync_directory(directory)
    free_names(layout, claim.state)


def _has_report(directory: Path, state: JobState) -> bool:
    """Whether an earlier call, which was interrupted, has moved the report of this job."""
    if state.kept_as is None:
        return False
    content = read_if_regular(directory / f"{state.kept_as}{ERROR_SUFFIX}", at_most=MAX_REPORT_BYTES)
    found = None if content is None else refused_job(content, state.folder, state.kept_as)
    return found is not None and found.job_id == state.job_id


def _move_replacing(claim: Claim, directory: Path, ensure_kept: EnsureKept) -> None:
    """Moves the files into `directory` under their own names, and replaces files of these names."""
    directory = directory / claim.state.folder
    ensure_kept(directory)
    for name in claim.files():
        move_replacing(claim.directory / name, directory / name)


def _keep(claim: Claim, directory: Path, ensure_kept: EnsureKept, *, is_obvious: bool = True) -> None:
    """Moves the report, if there is one, and the files into `directory`, all under the first version of their
    stem whose names are free there.

    `is_obvious`: the first version need not be saved, because a repeated call finds it again.
    """
    state = claim.state
    directory = directory / state.folder
    ensure_kept(directory)
    names = (versioned(state.name, v) for v in itertools.count(1))
    for kept_as in itertools.chain([state.kept_as] if state.kept_as else [], names):
        moves = [
            (claim.path_of(name), f"{directory}/{kept_as}{suffix}") for name, suffix in _kept_files(claim)
        ]
        if kept_as != state.kept_as:
            if any(os.path.lexists(target) for _, target in moves):
                continue
            if not (is_obvious and kept_as == state.name):
                # A report whose place is forgotten would be written twice.
                claim = claim.saved(replace(state, kept_as=kept_as), sync=not is_obvious)
        # Another process may have been faster since: then all get the next version.
        if move_all_unless_taken(moves):
            return
    raise AssertionError("there are infinitely many versions")


def _kept_files(claim: Claim) -> list[tuple[str, str]]:
    """The names of the report of a claim and of its files, as far as they are still in its directory, and
    their suffixes."""
    files = [(name, name[len(split_name(name)[0]) :]) for name in claim.files()]
    has_report = claim.state.rejected and os.path.lexists(claim.path_of(REPORT))
    return [(REPORT, ERROR_SUFFIX), *files] if has_report else files
