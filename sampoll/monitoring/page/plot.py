"""The plot of the last hour: a bar for each minute, what was done at the bottom and what failed on top."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sampoll.monitoring.history import MINUTES, Minute

BAR_STEP = 10
HEIGHT = 95
"""Of the highest bar, in a plot that is 100 high."""
LEAST_HEIGHT = 2.0
"""So that one failure beside a thousand results is seen."""
TICK_MINUTES = 15


@dataclass(frozen=True)
class Bar:
    begins: datetime
    done: int
    failed: int
    x: int
    done_height: float
    failed_height: float


@dataclass(frozen=True)
class Hour:
    """`most` is the number of jobs in the busiest minute; minutes without jobs have no bar."""

    done: int
    failed: int
    most: int
    bars: Sequence[Bar]
    ticks: Sequence[datetime]


def plotted(minutes: Sequence[Minute]) -> Hour:
    """The plot of these minutes, the oldest first."""
    most = max(minute.done + minute.failed for minute in minutes)
    bars = [
        Bar(
            _utc(minute.begins),
            minute.done,
            minute.failed,
            BAR_STEP * index + 1,
            _height(minute.done, most),
            _height(minute.failed, most),
        )
        for index, minute in enumerate(minutes)
        if minute.done or minute.failed
    ]
    ends = minutes[-1].begins + 60
    ticks = [_utc(ends - 60 * ago) for ago in range(MINUTES, -1, -TICK_MINUTES)]
    return Hour(sum(bar.done for bar in bars), sum(bar.failed for bar in bars), most, bars, ticks)


def _height(count: int, most: int) -> float:
    return max(LEAST_HEIGHT, HEIGHT * count / most) if count else 0.0


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
