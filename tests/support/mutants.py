"""sampoll with one mistake each: what the tests of the spool must notice.

In a process of its own, `--model support.fakes:...` makes the mistake that `$MUTANT` names.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any
from unittest import mock

from sampoll.spool import listing, results
from sampoll.spool.recovery import Step, next_step
from sampoll.spool.scan import Readiness, Scan, Sighting, scan
from sampoll.spool.spool import Spool


def record_before_masks() -> AbstractContextManager[object]:
    real = results.publish

    def publish(layout: Any, staged: Sequence[results.Staged], *, sync: bool) -> Any:
        # The last file of each result is published as its record, after all others.
        record_first = [replace(s, suffixes=(s.suffixes[-1], *s.suffixes[:-1])) for s in staged]
        return real(layout, record_first, sync=sync)

    return mock.patch.object(results, "publish", publish)


def no_attempt_cap() -> AbstractContextManager[object]:
    def step(*arguments: Any, **options: Any) -> Step:
        return next_step(*arguments, **{**options, "max_attempts": 10**9})

    return mock.patch("sampoll.spool.spool.next_step", step)


def wall_clock_lease() -> AbstractContextManager[object]:
    def recover(spool: Spool, real: Callable[[Spool], Any] = Spool.recover) -> Any:
        with mock.patch("sampoll.spool.spool.time.monotonic", time.time):
            return real(spool)

    return mock.patch.object(Spool, "recover", recover)


def following_links() -> AbstractContextManager[object]:
    stack = ExitStack()
    real_signature, real_open = listing._signature_of_regular, os.open

    def signature(entry: Any, **_: object) -> Any:
        return real_signature(entry, follows_links=True)

    def opening(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        return real_open(path, flags & ~os.O_NOFOLLOW, *arguments, **options)

    stack.enter_context(mock.patch.object(listing, "_signature_of_regular", signature))
    stack.enter_context(mock.patch("sampoll.spool.claims._is_unchanged", return_value=True))
    stack.enter_context(mock.patch("os.open", opening))
    return stack


def no_settle() -> AbstractContextManager[object]:
    def at_once(sightings: Mapping[str, Sighting], now: float, readiness: Readiness) -> Scan:
        return scan(sightings, now, replace(readiness, settle_seconds=0.0))

    stack = ExitStack()
    stack.enter_context(mock.patch("sampoll.spool.spool.scan", at_once))
    stack.enter_context(mock.patch("sampoll.spool.spool.is_being_written", return_value=False))
    return stack


MUTANTS: Mapping[str, Callable[[], AbstractContextManager[object]]] = {
    mutant.__name__: mutant
    for mutant in (record_before_masks, no_attempt_cap, wall_clock_lease, following_links, no_settle)
}
