"""Pairs that have failed, wherever they lie, as `sampoll failed` deals with them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sampoll.errors import InputUnavailable, translated_os_errors
from sampoll.naming import printable
from sampoll.settings import Settings
from sampoll.spool.claims import digest_of
from sampoll.spool.dead_letters import DeadLetter, dead_letters, purge, retry
from sampoll.spool.layout import InputLayout
from sampoll.spool.state import Failure

if TYPE_CHECKING:  # redis takes its time, and a folder needs none
    from sampoll.transports.streams.jobs import StreamJobs, StreamLetter


class FailedPair(Protocol):
    """One of them. `at` is in seconds since 1970, `job` says which job it was, for people."""

    @property
    def name(self) -> str: ...
    @property
    def at(self) -> float: ...
    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def job(self) -> str: ...

    def details(self) -> Iterator[str]:
        """Its errors and what there is of it, for people."""

    def more(self) -> dict[str, Any]:
        """What else a program may want to know."""

    def retry(self) -> bool:
        """Whether it will be tried again; somebody else may be faster."""

    def purge(self) -> int:
        """Deletes it; how many bytes it took."""


@dataclass(frozen=True)
class FailedPairs:
    """All in one place, and who tries again what is put back."""

    letters: Sequence[FailedPair]
    by_whom: str


def failed_in_folder(directory: Path) -> FailedPairs:
    """Those in failed/ of an input directory."""
    if not directory.is_dir():
        raise InputUnavailable(f"no input directory {directory}: correct --input")
    layout = InputLayout(directory.resolve())
    letters = [_InFolder(layout, letter) for letter in dead_letters(layout)]
    return FailedPairs(letters, f"the run that watches {layout.input}, or by the next one")


def failed_in_stream(settings: Settings) -> FailedPairs:
    """Those that workers of a Redis stream gave up."""
    from sampoll.redis_settings import server_of
    from sampoll.transports.streams.jobs import StreamJobs

    jobs = StreamJobs(server_of(settings.redis), settings.streams.stream)
    return FailedPairs(
        [_InStream(jobs, letter) for letter in jobs.letters()], f"the workers of {jobs.stream}"
    )


@dataclass(frozen=True)
class _InFolder:
    layout: InputLayout
    letter: DeadLetter

    @property
    def name(self) -> str:
        return printable(self.letter.path)

    @property
    def at(self) -> float:
        return self.letter.last_failure.at

    @property
    def code(self) -> str:
        return self.letter.last_failure.code

    @property
    def message(self) -> str:
        return self.letter.last_failure.message

    @property
    def attempts(self) -> int:
        return self.letter.state.attempts

    @property
    def job(self) -> str:
        return f", job {self.letter.state.job_id}"

    def details(self) -> Iterator[str]:
        letter = self.letter
        yield from map(_failure_line, letter.state.failures)
        for path, original in zip(letter.files, letter.state.files, strict=True):
            known = letter.last_failure.sha256.get(printable(original))
            with translated_os_errors("look at", path):
                yield f"{printable(os.fspath(path))}: {_condition(path, known)}"

    def more(self) -> dict[str, Any]:
        files = [printable(os.fspath(path)) for path in self.letter.files]
        return {"job_id": self.letter.state.job_id, "files": files}

    def retry(self) -> bool:
        with translated_os_errors("take pairs back from", self.layout.failed):
            return retry(self.layout, self.letter)

    def purge(self) -> int:
        with translated_os_errors("delete from", self.layout.failed):
            return purge(self.letter)


@dataclass(frozen=True)
class _InStream:
    jobs: "StreamJobs"
    letter: "StreamLetter"

    @property
    def name(self) -> str:
        return printable(self.letter.name)

    @property
    def at(self) -> float:
        return self.letter.at

    @property
    def code(self) -> str:
        return self.letter.code

    @property
    def message(self) -> str:
        return self.letter.message

    @property
    def attempts(self) -> int:
        return self.letter.attempts

    @property
    def job(self) -> str:
        return f", entry {self.letter.entry} of {self.jobs.stream}:failed"

    def details(self) -> Iterator[str]:
        letter = self.letter
        yield _failure_line(Failure(letter.code, letter.message, letter.at, None, None))
        for key, value in letter.content.items():
            yield f"{key}: {len(value)} bytes"

    def more(self) -> dict[str, Any]:
        return {"entry": self.letter.entry}

    def retry(self) -> bool:
        return self.jobs.retry(self.letter)

    def purge(self) -> int:
        return self.jobs.purge(self.letter)


def _failure_line(failure: Failure) -> str:
    at = datetime.fromtimestamp(failure.at).strftime("%Y-%m-%d %H:%M:%S")
    return f"{at}  {printable(f'{failure.code}: {failure.message}')}"


def _condition(path: Path, known: str | None) -> str:
    size = f"{path.lstat().st_size} bytes"
    if known is None:
        return size
    return f"{size}, {'unchanged' if digest_of(path) == known else 'changed'} since"
