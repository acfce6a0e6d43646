"""How a run over directories has ended, whether one process did it or several."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sampoll.config.settings import Settings
from sampoll.core.errors import InputUnavailable, Interrupted, JobError, SampollError
from sampoll.core.summary import CommandSummary
from sampoll.monitoring.tally import Tally
from sampoll.spool.failed import count_reports
from sampoll.spool.layout import Layout
from sampoll.spool.survey import survey
from sampoll.spool.unpaired import Leftovers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOutcome:
    """How a run has ended. `left` is the number of pairs that it would have begun if it had not been stopped
    before."""

    exit_code: int
    summary: CommandSummary
    first_failures: Sequence[tuple[str, JobError]]
    left: int


def outcome_of(settings: Settings, layout: Layout, tally: Tally, *, is_stopped: bool) -> RunOutcome:
    """The outcome of a run whose events `tally` has counted."""
    return RunOutcome(
        _exit_code(settings, tally, is_stopped=is_stopped),
        tally.summary(),
        tally.first_failures,
        _pairs_left(settings, layout) if is_stopped else 0,
    )


@contextmanager
def summary_despite_errors(tally: Tally) -> Iterator[None]:
    """Logs the summary if what comes after the jobs fails: their results are there all the same."""
    try:
        yield
    except SampollError:
        done = tally.summary()
        log.info("%s", done, extra={"event": "summary", **done.figures})
        raise


def tell_leftovers(layout: Layout, found: Leftovers, *, did_nothing: bool) -> None:
    """Logs what a run leaves in its input, and what to do about it."""
    for line, facts in found.lines_with_facts():
        log.warning("%s", line, extra={"event": "left", **facts})
    if not did_nothing or found.files:
        return
    log.warning("there is no image and no prompt in %s", layout.input)
    if failed := count_reports(layout):
        log.warning("%d failed earlier: sampoll failed list --input %s", failed, layout.input)


def _pairs_left(settings: Settings, layout: Layout) -> int:
    try:
        return len(survey(layout.input, settings.spool, layout.suffixes).scan.ready)
    except InputUnavailable:
        return 0


def _exit_code(settings: Settings, tally: Tally, *, is_stopped: bool) -> int:
    if settings.spool.continuous:
        return 0
    if is_stopped or tally.last_backlog.deferred:
        return Interrupted.exit_code
    return JobError.exit_code if tally.failures or tally.last_backlog.passed_over else 0
