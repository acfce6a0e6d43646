"""The numbers of the status page."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sampoll.core.wording import duration_text
from sampoll.monitoring.state import State

UNKNOWN = "—"


@dataclass(frozen=True)
class Figure:
    """A number with its name; `at` is a moment that ends the text `more`."""

    name: str
    value: object
    more: str = ""
    at: datetime | None = None


def main_figures(now: Mapping[str, Any], jobs_per_second: float | None, *, has_input: bool) -> list[Figure]:
    """What was done, and how fast; with an input, whose jobs can be counted, also how long it will take."""
    figures = [
        Figure("done since the start", now["done"]),
        Figure("failed since the start", now["failed"]),
        _rate(jobs_per_second),
    ]
    return [*figures, _time_left(now, jobs_per_second)] if has_input else figures


def small_figures(
    now: Mapping[str, Any], running: int, queued: int, failed_pairs: int | None
) -> list[Figure]:
    """Where all other jobs are; `failed_pairs` is None without an input."""
    figures = [Figure("running", running), Figure("queued", queued)]
    if failed_pairs is None:
        return figures
    waiting = now["waiting"]
    return [
        *figures,
        Figure("ready in the input", waiting["ready"]),
        Figure("still settling", waiting["settling"]),
        Figure("to be tried again", waiting["deferred"]),
        Figure("half pairs", waiting["half"]),
        Figure("passed over", waiting["passed_over"]),
        Figure("in failed/", failed_pairs),
    ]


def _rate(jobs_per_second: float | None) -> Figure:
    if jobs_per_second is None:
        return Figure("rate", UNKNOWN, "no job ended in the last hour")
    unit, seconds = "hour", 3600
    for shorter, length in (("minute", 60), ("second", 1)):
        if jobs_per_second * length >= 1:
            unit, seconds = shorter, length
    return Figure("rate", f"{jobs_per_second * seconds:.1f}", f"jobs per {unit}, while it works")


def _time_left(now: Mapping[str, Any], jobs_per_second: float | None) -> Figure:
    waiting = now["waiting"]
    jobs = now["in_flight"] + waiting["ready"] + waiting["settling"] + waiting["deferred"]
    if now["state"] != State.WORKING:
        return Figure("time left", UNKNOWN, f"not known: {now['state']}")
    if not jobs:
        return Figure("time left", UNKNOWN, "no job waits")
    if jobs_per_second is None:
        return Figure("time left", UNKNOWN, "not known: no job has ended")
    seconds = jobs / jobs_per_second
    ends = datetime.fromtimestamp(time.time() + seconds, UTC)
    return Figure("time left", f"about {duration_text(seconds)}", "until about", ends)
