"""Ends a job: moves its inputs to done/ or failed/, and removes everything else of it from the spool."""

import itertools
import os
from dataclasses import replace
from pathlib import Path

from sampoll.core.filenames import is_image, split_name, versioned
from sampoll.files.atomic import replace_file
from sampoll.files.files import ensure_directory, move_replacing, move_unless_taken
from sampoll.spool.claims import Claim, discard
from sampoll.spool.layout import Layout
from sampoll.spool.reports import ERROR_SUFFIX, error_report
from sampoll.spool.results import free_names


def finish(layout: Layout, claim: Claim) -> None:
    """Moves the inputs of a committed job to done/, or deletes them. Safe to repeat after any crash."""
    for path in claim.files():
        if layout.done is None or (layout.deletes_images and is_image(path.name)):
            path.unlink()
    if layout.done is not None:
        claim = _move_replacing(claim, layout.done) if layout.overwrites_done else _keep(claim, layout.done)
    free_names(layout, claim.state)
    discard(claim)


def move_to_failed(layout: Layout, claim: Claim) -> None:
    """Moves the inputs of a rejected job to failed/, with an error report beside them. Safe to repeat."""
    claim = _keep(claim, layout.failed, beside=ERROR_SUFFIX)
    report = error_report(claim.state)
    directory = layout.failed / claim.state.folder
    replace_file(directory / f"{claim.state.kept_as}{ERROR_SUFFIX}", report, sync=True, is_sole_writer=True)
    free_names(layout, claim.state)
    discard(claim)


def _move_replacing(claim: Claim, directory: Path) -> Claim:
    """Moves the files into `directory` under their own names, and replaces files of these names."""
    directory = directory / claim.state.folder
    ensure_directory(directory)
    for path in claim.files():
        move_replacing(path, directory / path.name)
    return claim


def _keep(claim: Claim, directory: Path, beside: str | None = None) -> Claim:
    """Moves the files into `directory`, all under the first version of their stem whose names are free there,
    including the name with the suffix `beside`."""
    state = claim.state
    directory = directory / state.folder
    ensure_directory(directory)
    names = (versioned(state.name, v) for v in itertools.count(1))
    for kept_as in itertools.chain([state.kept_as] if state.kept_as else [], names):
        targets = {
            path: directory / (kept_as + path.name[len(split_name(path.name)[0]) :]) for path in claim.files()
        }
        wanted = [*targets.values(), *([directory / (kept_as + beside)] if beside else [])]
        if kept_as != state.kept_as and any(map(os.path.lexists, wanted)):
            continue
        kept = replace(state, kept_as=kept_as)
        # The first version, with no file beside it, need not be saved: a repeated call finds it again.
        is_obvious = beside is None and kept_as == state.name
        claim = replace(claim, state=kept) if is_obvious else claim.saved(kept, sync=False)
        if all(move_unless_taken(path, target) for path, target in targets.items()):
            return claim
    raise AssertionError("there are infinitely many versions")
