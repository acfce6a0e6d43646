"""The pairs in failed/: lists them, retries them and deletes them."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sampoll.core.errors import translated_os_errors
from sampoll.core.failures import FailedJob, KeptFile
from sampoll.core.filenames import is_image, is_prompt, split_name
from sampoll.core.names import base_name, folder_of, printable
from sampoll.files.files import (
    ensure_directory,
    move_unless_taken,
    read_if_regular,
    subdirectories,
    walk,
)
from sampoll.spool.claims import Claim, digest_of, discard
from sampoll.spool.directories import holds_a_job
from sampoll.spool.layout import InputLayout
from sampoll.spool.reports import ERROR_SUFFIX, MAX_REPORT_BYTES, refused_job
from sampoll.spool.state import JobState

RETURN_SECONDS = 60.0
"""How long moving a pair from failed/ to the spool may take; an interrupted move is undone after that."""


@dataclass(frozen=True)
class FailedPair(FailedJob):
    """A failed pair, and its report. `path` is its path in failed/, without extensions; `files` are in the
    order of `state.files`, which holds their original names."""

    path: str
    report: Path
    files: tuple[Path, ...]
    state: JobState


class FailedPairs:
    """The pairs in failed/ of an input. StorageTrouble or PermissionRefused say what cannot be done."""

    def __init__(self, layout: InputLayout) -> None:
        self._layout = layout

    @property
    def retried_by(self) -> str:
        return f"the run that watches {self._layout.input}, or by the next one"

    def jobs(self) -> Iterator[FailedPair]:
        """By folder and path."""
        for folder, entries in walk(self._layout.failed):
            by_stem: dict[str, list[str]] = {}
            for entry in entries:
                by_stem.setdefault(split_name(entry.name)[0], []).append(entry.name)
            reports = (entry.name for entry in entries if entry.name.endswith(ERROR_SUFFIX))
            for kept_as in sorted(name.removesuffix(ERROR_SUFFIX) for name in reports):
                path = f"{folder}/{kept_as}" if folder else kept_as
                pair = _failed_pair(self._layout.failed, path, by_stem.get(kept_as, []))
                if pair is not None:
                    yield pair

    def place_of(self, job: FailedPair) -> str:
        return f"job {job.job_id}"

    def identity_of(self, job: FailedPair) -> Mapping[str, object]:
        return {"job_id": job.job_id, "files": [printable(os.fspath(path)) for path in job.files]}

    def files_of(self, job: FailedPair) -> Iterator[KeptFile]:
        for path, original in zip(job.files, job.state.files, strict=True):
            digest = job.last_failure.sha256.get(printable(original))
            with translated_os_errors("look at", path):
                is_changed = None if digest is None else digest_of(path) != digest
                yield KeptFile(printable(os.fspath(path)), path.lstat().st_size, is_changed)

    def retry(self, job: FailedPair) -> bool:
        """Defers a failed pair for its next try, with its history. Returns False, and changes nothing, if
        another process is moving it to failed/, retrying it or purging it at the same time.

        If this is interrupted, it is undone: until all files have moved, the state says "rejected".
        """
        with translated_os_errors("take pairs back from", self._layout.failed):
            return _retry(self._layout, job)

    def purge(self, job: FailedPair) -> int:
        """Deletes a failed pair, its report last, and returns how many bytes that frees; nothing if a process
        is moving it to failed/ at the same time."""
        freed = 0
        if _is_held(self._layout, job.job_id):
            return freed
        with translated_os_errors("delete from", self._layout.failed):
            for path in (*job.files, job.report):
                with suppress(FileNotFoundError):
                    freed += path.lstat().st_size
                    path.unlink()
        return freed


def count_reports(layout: InputLayout) -> int:
    """How many pairs have failed; does not read their reports."""
    return sum(entry.name.endswith(ERROR_SUFFIX) for _, entries in walk(layout.failed) for entry in entries)


def _failed_pair(failed: Path, path: str, names: Iterable[str]) -> FailedPair | None:
    """The pair whose files are among `names`; None if there is no valid report."""
    directory, kept_as = failed / folder_of(path), base_name(path)
    report = directory / f"{kept_as}{ERROR_SUFFIX}"
    content = read_if_regular(report, at_most=MAX_REPORT_BYTES)
    state = None if content is None else refused_job(content, folder_of(path), kept_as)
    if state is None:
        return None
    # A user who fixes a pair may add a missing file.
    extensions = {split_name(name)[1] for name in state.files}
    ours = [
        name
        for name in sorted(names)
        if (is_image(name) or is_prompt(name) or split_name(name)[1] in extensions)
        and not _is_report(directory / name)
    ]
    state = replace(state, files=tuple(state.name + name[len(kept_as) :] for name in ours))
    files = tuple(directory / name for name in ours)
    return FailedPair(
        printable(path), state.job_id, state.attempts, state.failures, path, report, files, state
    )


def _is_report(path: Path) -> bool:
    """Whether it is, or was, the report of another pair, NAME, which looks like a prompt of the pair
    NAME.error."""
    if not path.name.endswith(ERROR_SUFFIX):
        return False
    content = read_if_regular(path, at_most=MAX_REPORT_BYTES)
    kept_as = path.name.removesuffix(ERROR_SUFFIX)
    return content is None or refused_job(content, "", kept_as) is not None


def _is_held(layout: InputLayout, job_id: str) -> bool:
    """Whether a process holds this job, or one that died has left it."""
    return any(holds_a_job(node / job_id) for node in subdirectories(layout.work))


def _retry(layout: InputLayout, pair: FailedPair) -> bool:
    if _is_held(layout, pair.job_id):
        return False
    ensure_directory(layout.deferred)
    directory = layout.deferred / pair.job_id
    try:
        directory.mkdir()
    except FileExistsError:
        return False
    returning = replace(pair.state, not_before=time.time() + RETURN_SECONDS)
    claim = Claim(directory, returning).saved(returning, sync=True)
    try:
        for path, name in zip(pair.files, returning.files, strict=True):
            path.rename(directory / name)
        pair.report.unlink()
    except FileNotFoundError:
        for path, name in zip(pair.files, returning.files, strict=True):
            if (directory / name).exists():
                move_unless_taken(directory / name, path)
        discard(claim)
        return False
    claim.saved(returning.retried(), sync=True)
    return True
