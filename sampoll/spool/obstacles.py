"""Paths of an input that cannot be read or moved: passed over, and tried again at intervals. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from sampoll.core.errors import JobError

FIRST_RETRY_SECONDS = 5.0
MAX_RETRY_SECONDS = 300.0
RETRIES_PER_SCAN = 4
"""A failing disk may take seconds for each."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """`path` is that of a pair without extensions, of a file, of a folder with a slash at its end, or of all
    pairs in a folder: "sub/*"."""

    path: str
    error: JobError


@dataclass(frozen=True, slots=True)
class _Retry:
    """The next try, at `at` (monotonic seconds), was delayed by `delay_seconds`."""

    at: float
    delay_seconds: float


class Obstacles:
    """The obstacles of one input, each of which is reported once and blocks only its own path.

    A few whose retry is due are unblocked for one scan. One that is not noted again until the next scan is
    forgotten. Without `retries` each is tried once.
    """

    def __init__(self, *, retries: bool) -> None:
        self._retries = retries
        self._known: dict[str, _Retry] = {}
        self._trying: set[str] = set()
        self._unreported: list[Obstacle] = []

    def __len__(self) -> int:
        return len(self._known)

    def begin_scan(self, now: float) -> None:
        """Forgets the obstacles that are gone, and unblocks the next ones."""
        for path in self._trying:
            del self._known[path]
        due = (path for path, retry in self._known.items() if self._retries and retry.at <= now)
        self._trying = set(islice(due, RETRIES_PER_SCAN))

    def note(self, path: str, error: JobError, now: float) -> None:
        """Blocks `path` from now on until its next retry."""
        before = self._known.pop(path, None)  # a retry is the last of those that are due
        if before is None:
            self._unreported.append(Obstacle(path, error))
        delay = FIRST_RETRY_SECONDS if before is None else min(2 * before.delay_seconds, MAX_RETRY_SECONDS)
        self._known[path] = _Retry(now + delay, delay)
        self._trying.discard(path)

    def blocks(self, path: str) -> bool:
        return path in self._known and path not in self._trying

    def blocks_any(self, paths: Iterable[str]) -> bool:
        return bool(self._known) and any(map(self.blocks, paths))

    def unreported(self) -> list[Obstacle]:
        """The obstacles that are new since the last call."""
        new, self._unreported = self._unreported, []
        return new
