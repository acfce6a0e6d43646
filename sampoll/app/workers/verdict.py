"""Decides what follows when a worker has ended; pure."""

from enum import Enum, auto

from sampoll.core.errors import (
    ConfigurationError,
    InputUnavailable,
    Interrupted,
    JobError,
    ModelUnavailable,
    OutputUnavailable,
    PermissionRefused,
    UsageError,
)

FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 30.0
CRASH_BUDGET = 5
"""Crashes in a row, without an outcome of a job in between, after which a worker is not started again. A pair
that kills its process takes --max-attempts + 1."""

WORK_ENDED = frozenset({0, JobError.exit_code})
"""The worker has done what there was to do."""
FINAL = WORK_ENDED | {
    UsageError.exit_code,
    InputUnavailable.exit_code,
    ModelUnavailable.exit_code,
    OutputUnavailable.exit_code,
    Interrupted.exit_code,
    PermissionRefused.exit_code,
    ConfigurationError.exit_code,
}
"""The same start would end in the same way."""


class Verdict(Enum):
    """LEAVE: the worker is not started again, and the others go on. END_ALL: the command ends."""

    LEAVE = auto()
    RESTART = auto()
    END_ALL = auto()


def verdict_on(exit_code: int, *, any_was_ready: bool, crashes_in_a_row: int, is_stopping: bool) -> Verdict:
    """What follows from the exit code of a worker, negative for a signal. Before any worker was ready, an
    error is taken for one of the settings, which all workers share."""
    if exit_code in WORK_ENDED or is_stopping:
        return Verdict.LEAVE
    if not any_was_ready:
        return Verdict.END_ALL
    if exit_code in FINAL:
        return Verdict.LEAVE
    return Verdict.END_ALL if crashes_in_a_row > CRASH_BUDGET else Verdict.RESTART


def pause_seconds(crashes_in_a_row: int) -> float:
    """How long to wait before the next start."""
    return float(min(FIRST_PAUSE_SECONDS * 2 ** (crashes_in_a_row - 1), MAX_PAUSE_SECONDS))
