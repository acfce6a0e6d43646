"""The files that a service does not take, found for its page at bounded cost."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock, Thread

from sampoll.core.errors import SampollError
from sampoll.core.names import printable
from sampoll.spool.unpaired import NOTHING_LEFT, Leftovers, Reason

MIN_PAUSE_SECONDS = 20.0
PAUSE_PER_SECOND = 20
"""The input is not looked through for more than a twentieth of the time, however large it is."""
WAIT_SECONDS = 2.0
"""A request waits for so long at most; a disk that hangs does not block the page."""
SHOWN = 50


@dataclass(frozen=True)
class Group:
    """Files that are not taken for the same reason: the path of each and what to do; `more` are not among
    them."""

    title: str
    files: Sequence[tuple[str, str]]
    more: int


@dataclass(frozen=True)
class LastLook:
    """What was found; `trouble` says why nothing could be, or that the first look has not ended yet."""

    leftovers: Leftovers = NOTHING_LEFT
    trouble: str | None = None


class RecentLeftovers:
    """Looks through the input in a thread of its own, only while a page is asked for; thread-safe."""

    def __init__(self, find: Callable[[], Leftovers]) -> None:
        self._find = find
        self._lock = Lock()
        self._last = LastLook(trouble="the input is still being looked through")
        self._thread: Thread | None = None
        self._due_at = time.monotonic()

    def last_look(self) -> LastLook:
        """The result of the last look; begins another one if it is due."""
        with self._lock:
            thread = self._thread
            if (thread is None or not thread.is_alive()) and time.monotonic() >= self._due_at:
                self._thread = thread = Thread(target=self._look, name="leftovers", daemon=True)
                thread.start()
        if thread is not None:
            thread.join(WAIT_SECONDS)
        with self._lock:
            return self._last

    def _look(self) -> None:
        began = time.monotonic()
        try:
            look = LastLook(self._find())
        except (SampollError, OSError) as error:
            look = LastLook(trouble=printable(str(error)))
        ended = time.monotonic()
        with self._lock:
            self._last = look
            self._due_at = ended + max(MIN_PAUSE_SECONDS, PAUSE_PER_SECOND * (ended - began))


def grouped(leftovers: Leftovers) -> list[Group]:
    """The first files of each reason, SHOWN in all."""
    shown, others = leftovers.some(SHOWN)
    groups = []
    for reason in Reason:
        files = [(printable(file.path), file.advice) for file in shown if file.reason is reason]
        if files:
            more = others.get(reason, 0)
            groups.append(Group(reason.counted(len(files) + more), files, more))
    return groups
