"""How a job ends: its inputs in done/ or failed/, and nothing of it left in the spool."""

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
    """Retires the inputs of a committed job. May be repeated after a crash at any point."""
    for path in claim.files():
        if layout.done is None or (layout.deletes_images and is_image(path.name)):
            path.unlink()
    if layout.done is not None:
        claim = _move_replacing(claim, layout.done) if layout.overwrites_done else _keep(claim, layout.done)
    free_names(layout, claim.state)
    discard(claim)


def move_to_failed(layout: Layout, claim: Claim) -> None:
    """Moves the inputs of a rejected job to failed/, and says why beside them. May be repeated."""
    claim = _keep(claim, layout.failed, beside=ERROR_SUFFIX)
    report = error_report(claim.state)
    directory = layout.failed / claim.state.folder
    replace_file(directory / f"{claim.state.kept_as}{ERROR_SUFFIX}", report, sync=True, is_sole_writer=True)
    free_names(layout, claim.state)
    discard(claim)


def _move_replacing(claim: Claim, directory: Path) -> Claim:
    """Moves the files into `directory` under their own names, over what has them there."""
    directory = directory / claim.state.folder
    ensure_directory(directory)
    for path in claim.files():
        move_replacing(path, directory / path.name)
    return claim


def _keep(claim: Claim, directory: Path, beside: str | None = None) -> Claim:
    """Moves the files into `directory`, all under the first version of their stem that is free there, for a
    file with the suffix `beside` too."""
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
        # Without anything beside the files, the first version is found again without a note.
        is_obvious = beside is None and kept_as == state.name
        claim = replace(claim, state=kept) if is_obvious else claim.saved(kept, sync=False)
        if all(move_unless_taken(path, target) for path, target in targets.items()):
            return claim
    raise AssertionError("there are infinitely many versions")
