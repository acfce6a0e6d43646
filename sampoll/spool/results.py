"""Publishes results under their reserved names: all masks first, the record that commits them last."""

import errno
import itertools
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sampoll.core.errors import is_refusal
from sampoll.core.filenames import versioned
from sampoll.core.names import RECORD_SUFFIX, folder_of
from sampoll.core.results import ResultSummary
from sampoll.files.files import (
    create_anew,
    ensure_directory,
    is_accessible,
    move_unless_taken,
    read_if_regular,
    read_regular,
    sync_directory,
)
from sampoll.spool.claims import Claim
from sampoll.spool.layout import Layout
from sampoll.spool.nodes import Node
from sampoll.spool.state import JobState


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

    def waiting(self, suffix: str) -> str:
        """Where the file of this suffix waits to be published."""
        return f"{self.stage}/{self.state.job_id}{suffix.replace('/', '')}"


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

    def each(act: Callable[[Layout, Staged], list[str]]) -> None:
        changed = []
        for result in (r for r in results if r.state.job_id not in refused):
            try:
                changed += act(layout, result)
            except OSError as error:
                if not is_refusal(error):
                    raise
                refused[result.state.job_id] = error
                _withdraw(layout, result)
        _sync_folders_of(layout, changed, sync=sync)

    each(partial(_prepare, usable=set()))
    # What replaces nothing comes first: until then, the earlier result is whole.
    each(lambda layout, result: _publish(layout, result, result.new_masks))
    each(lambda layout, result: _retract(layout, result) if _has_outdated(result) else [])
    each(lambda layout, result: _publish(layout, result, result.replacing_masks))
    each(lambda layout, result: _publish(layout, result, result.suffixes[-1:]))
    return refused


def _prepare(layout: Layout, result: Staged, *, usable: set[str]) -> list[str]:
    """Makes the folders of a result, and checks that they can be written; `usable` are those of the results
    before it."""
    for name in {folder_of(result.state.result(suffix)) for suffix in result.suffixes} - usable:
        folder = layout.output / name
        ensure_directory(folder)
        # It has to be readable too in order to be synced.
        if not is_accessible(folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(folder))
        usable.add(name)
    return []


def _publish(layout: Layout, result: Staged, suffixes: Iterable[str]) -> list[str]:
    """Moves the staged files of these suffixes into the output; returns their names there. NameTaken for a
    file that is there already and may not be replaced."""
    names = []
    for suffix in suffixes:
        name = result.state.result(suffix)
        source, path = result.waiting(suffix), f"{layout.output}/{name}"
        if suffix in result.replaceable:
            os.rename(source, path)
        elif not move_unless_taken(source, path):
            raise NameTaken(errno.EEXIST, os.strerror(errno.EEXIST), name)
        names.append(name)
    return names


def _withdraw(layout: Layout, result: Staged) -> None:
    """Removes the files of a result; those that are published are first moved back to the stage, as in
    `_retract`."""
    for suffix in result.suffixes:
        waiting = Path(result.waiting(suffix))
        with suppress(OSError):
            if not os.path.lexists(waiting):
                (layout.output / result.state.result(suffix)).rename(waiting)
            waiting.unlink()


def withdraw(layout: Layout, node: Node, state: JobState) -> None:
    """Removes the masks that an interrupted attempt of a job without a result has published, as far as that
    is possible. Those that may be of an earlier result, or of another program, remain."""
    is_ours = state.was_interrupted and state.reserved and not state.replaces
    if is_ours and not os.path.lexists(layout.output / state.result(state.suffixes[-1])):
        _withdraw(layout, Staged(state, state.suffixes, node.stage))


def _has_outdated(result: Staged) -> bool:
    """Whether the output may contain files under this job's names that do not belong to this result: those of
    the result that it replaces, or of an interrupted attempt that had more masks."""
    return result.state.replaces or len(result.state.suffixes) > len(result.suffixes)


def _retract(layout: Layout, result: Staged) -> list[str]:
    """Removes outdated files from the output, the record first, then masks that no new ones will replace;
    returns their names.

    They are first moved to this node's stage. A node whose jobs were taken over has no stage any more, so it
    cannot remove what its successor has published.
    """
    masks = [suffix for suffix in result.state.suffixes if suffix not in result.suffixes]
    trash = Path(result.waiting(".outdated"))
    names = [result.state.result(suffix) for suffix in (result.suffixes[-1], *masks)]
    for name in names:
        # An interrupted attempt has removed it; or the stage is gone, and then publishing will fail.
        with suppress(FileNotFoundError):
            (layout.output / name).rename(trash)
    trash.unlink(missing_ok=True)
    return [name for name in names if (layout.output / name).parent.is_dir()]


def _sync_folders_of(layout: Layout, names: Iterable[str], *, sync: bool) -> None:
    """Brings the folders of these names in the output to disk."""
    for folder in set(map(folder_of, names)) if sync else ():
        sync_directory(layout.output / folder)


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
