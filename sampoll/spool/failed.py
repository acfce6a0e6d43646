"""Pairs that have failed, as they lie in failed/: what is there, the way back, and the way out."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sampoll.core.filenames import is_image, is_prompt, split_name
from sampoll.core.names import base_name, folder_of
from sampoll.files.files import ensure_directory, move_unless_taken, read_regular, subdirectories
from sampoll.spool.claims import Claim, discard
from sampoll.spool.layout import InputLayout
from sampoll.spool.reports import ERROR_SUFFIX, refused_job
from sampoll.spool.state import Failure, JobState

RETURN_SECONDS = 60.0
"""How long a pair may take from failed/ to the spool; a cut-off return is undone after that."""


@dataclass(frozen=True)
class DeadLetter:
    """A failed pair. `path` is its place in failed/, without extensions; `files` are in the order of
    `state.files`, which has their names from before they failed."""

    path: str
    report: Path
    files: tuple[Path, ...]
    state: JobState

    @property
    def last_failure(self) -> Failure:
        return self.state.failures[-1]


def dead_letters(layout: InputLayout) -> Iterator[DeadLetter]:
    """All of them, by folder and path."""
    for root, folders, names in os.walk(layout.failed):
        folders.sort()
        directory = Path(root)
        by_stem: dict[str, list[str]] = {}
        for name in names:
            by_stem.setdefault(split_name(name)[0], []).append(name)
        for kept_as in sorted(n.removesuffix(ERROR_SUFFIX) for n in names if n.endswith(ERROR_SUFFIX)):
            path = os.fspath((directory / kept_as).relative_to(layout.failed))
            letter = _dead_letter(directory, path, by_stem.get(kept_as, []))
            if letter is not None:
                yield letter


def count_reports(layout: InputLayout) -> int:
    """How many pairs have failed, without a look into their reports."""
    return sum(name.endswith(ERROR_SUFFIX) for _, _, names in os.walk(layout.failed) for name in names)


def _dead_letter(directory: Path, path: str, names: Iterable[str]) -> DeadLetter | None:
    """The letter whose files are among `names`; None if there is no report, or only what looks like one."""
    kept_as = base_name(path)
    report = directory / f"{kept_as}{ERROR_SUFFIX}"
    try:
        state = refused_job(read_regular(report), folder_of(path), kept_as)
    except OSError:
        return None
    if state is None:
        return None
    # Whoever mends a pair may well add what it lacked.
    extensions = {split_name(name)[1] for name in state.files}
    ours = [n for n in sorted(names) if is_image(n) or is_prompt(n) or split_name(n)[1] in extensions]
    state = replace(state, files=tuple(state.name + name[len(kept_as) :] for name in ours))
    return DeadLetter(path, report, tuple(directory / name for name in ours), state)


def retry(layout: InputLayout, letter: DeadLetter) -> bool:
    """Makes a failed pair wait for its next try, with its history; False, with nothing changed, if another
    process puts it away, retries or purges it just now.

    Cut off anywhere, it is undone: until everything has moved, the job is one that was refused.
    """
    if any((node / letter.state.job_id).exists() for node in subdirectories(layout.work)):
        return False
    ensure_directory(layout.deferred)
    directory = layout.deferred / letter.state.job_id
    try:
        directory.mkdir()
    except FileExistsError:
        return False
    returning = replace(letter.state, not_before=time.time() + RETURN_SECONDS)
    claim = Claim(directory, returning).saved(returning, sync=True)
    try:
        for path, name in zip(letter.files, returning.files, strict=True):
            path.rename(directory / name)
        letter.report.unlink()
    except FileNotFoundError:
        for path, name in zip(letter.files, returning.files, strict=True):
            if (directory / name).exists():
                move_unless_taken(directory / name, path)
        discard(claim)
        return False
    claim.saved(returning.retried(), sync=True)
    return True


def purge(letter: DeadLetter) -> int:
    """Deletes a failed pair; returns how many bytes that frees. The report goes last."""
    freed = 0
    for path in (*letter.files, letter.report):
        with suppress(FileNotFoundError):
            freed += path.lstat().st_size
            path.unlink()
    return freed
