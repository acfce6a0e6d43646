"""The directories of a node's jobs. Those of jobs that have ended are used again: making and removing one for
each job takes longer than all its other acts on some disks."""

import os
from contextlib import suppress
from pathlib import Path

MAX_SPARE = 256


class JobDirectories:
    """The directories in `work`, each named by its job. Spare ones are empty and have the names of former
    jobs. Calls may come from different threads."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._spare: list[str] = []

    def make(self, job_id: str) -> Path:
        """A new directory, or a spare one."""
        directory = self._work / job_id
        while self._spare:
            # Another process may have taken it, or put something there, which the next process finds.
            with suppress(IndexError, FileNotFoundError):
                spare = self._spare.pop()
                if not os.listdir(spare):
                    os.rename(spare, directory)
                    return directory
        directory.mkdir()
        return directory

    def keep(self, directory: Path) -> None:
        """Keeps an empty directory whose job has ended."""
        self._spare.append(os.fspath(directory))
        if len(self._spare) > MAX_SPARE:
            _remove(self._spare.pop())

    def clear(self) -> None:
        """Removes those that are spare."""
        while self._spare:
            _remove(self._spare.pop())


def holds_a_job(directory: Path) -> bool:
    """Whether a job is in this directory of a node; a spare one is empty."""
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False


def _remove(directory: str) -> None:
    with suppress(OSError):  # the next process finds what was put there
        os.rmdir(directory)
