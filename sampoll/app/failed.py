"""Pairs that have failed, wherever they lie, as `sampoll failed` deals with them."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampoll.config.settings import Settings
from sampoll.core.errors import InputUnavailable, translated_os_errors
from sampoll.core.names import printable
from sampoll.spool.claims import digest_of
from sampoll.spool.failed import DeadLetter, dead_letters, purge, retry
from sampoll.spool.layout import InputLayout

if TYPE_CHECKING:  # redis takes its time, and a folder needs none
    from sampoll.transports.redis.streams.client import StreamJobs, StreamLetter


@dataclass(frozen=True)
class FailedPair:
    """One of them. `at` is in seconds since 1970; for people, `job` says which job it was, and `details` all
    that is known of it; `more` is what else a program may want to know.

    `retry` says whether it will be tried again: somebody else may be faster. `purge` deletes it, and returns
    how many bytes it took.
    """

    name: str
    at: float
    code: str
    message: str
    attempts: int
    job: str
    details: Callable[[], Iterator[str]]
    more: Mapping[str, Any]
    retry: Callable[[], bool]
    purge: Callable[[], int]


@dataclass(frozen=True)
class FailedPairs:
    """All in one place, and who tries again what is put back."""

    pairs: Sequence[FailedPair]
    by_whom: str


def failed_in_folder(directory: Path) -> FailedPairs:
    """Those in failed/ of an input directory."""
    if not directory.is_dir():
        raise InputUnavailable(f"no input directory {directory}: correct --input")
    layout = InputLayout(directory.resolve())
    pairs = [_in_folder(layout, letter) for letter in dead_letters(layout)]
    return FailedPairs(pairs, f"the run that watches {layout.input}, or by the next one")


def failed_in_stream(settings: Settings) -> FailedPairs:
    """Those that workers of a Redis stream gave up."""
    from sampoll.transports.redis.server import server_of
    from sampoll.transports.redis.streams.client import StreamJobs

    jobs = StreamJobs(server_of(settings.redis), settings.streams.stream)
    return FailedPairs(
        [_in_stream(jobs, letter) for letter in jobs.letters()], f"the workers of {jobs.stream}"
    )


def _in_folder(layout: InputLayout, letter: DeadLetter) -> FailedPair:
    last, job_id = letter.last_failure, letter.state.job_id

    def retried() -> bool:
        with translated_os_errors("take pairs back from", layout.failed):
            return retry(layout, letter)

    def purged() -> int:
        with translated_os_errors("delete from", layout.failed):
            return purge(letter)

    return FailedPair(
        name=printable(letter.path),
        at=last.at,
        code=last.code,
        message=last.message,
        attempts=letter.state.attempts,
        job=f"job {job_id}",
        details=partial(_details_in_folder, letter),
        more={"job_id": job_id, "files": [printable(os.fspath(path)) for path in letter.files]},
        retry=retried,
        purge=purged,
    )


def _details_in_folder(letter: DeadLetter) -> Iterator[str]:
    for failure in letter.state.failures:
        yield _failure_line(failure.at, failure.code, failure.message)
    for path, original in zip(letter.files, letter.state.files, strict=True):
        known = letter.last_failure.sha256.get(printable(original))
        with translated_os_errors("look at", path):
            yield f"{printable(os.fspath(path))}: {_condition(path, known)}"


def _in_stream(jobs: "StreamJobs", letter: "StreamLetter") -> FailedPair:
    return FailedPair(
        name=printable(letter.name),
        at=letter.at,
        code=letter.code,
        message=letter.message,
        attempts=letter.attempts,
        job=f"entry {letter.entry} of {jobs.stream}:failed",
        details=partial(_details_in_stream, letter),
        more={"entry": letter.entry},
        retry=partial(jobs.retry, letter),
        purge=partial(jobs.purge, letter),
    )


def _details_in_stream(letter: "StreamLetter") -> Iterator[str]:
    yield _failure_line(letter.at, letter.code, letter.message)
    for key, value in letter.content.items():
        yield f"{key}: {len(value)} bytes"


def local_time(at: float) -> str:
    """Seconds since 1970 as people read them."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def _failure_line(at: float, code: str, message: str) -> str:
    return f"{local_time(at)}  {printable(f'{code}: {message}')}"


def _condition(path: Path, known: str | None) -> str:
    size = f"{path.lstat().st_size} bytes"
    if known is None:
        return size
    return f"{size}, {'unchanged' if digest_of(path) == known else 'changed'} since"
