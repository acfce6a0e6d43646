"""`sampoll run` by several processes."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from sampoll.app.run_outcome import RunOutcome, outcome_of, summary_despite_errors, tell_leftovers
from sampoll.app.service_info import run_info
from sampoll.app.workers.shares import worker_settings
from sampoll.app.workers.team import Team, orders_of
from sampoll.config.settings import Settings
from sampoll.core.errors import translated_os_errors
from sampoll.core.events import Listener
from sampoll.monitoring.job_log import job_log
from sampoll.monitoring.monitor import monitored_workers
from sampoll.monitoring.progress_bar import JobProgress, progress
from sampoll.monitoring.tally import Tally
from sampoll.spool.layout import Layout
from sampoll.spool.nodes import held_input
from sampoll.spool.stop_file import took_stop_file
from sampoll.spool.survey import survey


def run_in_workers(
    settings: Settings, layout: Layout, listeners: Sequence[Listener], *, show_progress: bool
) -> RunOutcome:
    """Serves the input directory by several processes. Raises SampollError if they cannot work at all."""
    tally, shares = Tally(), worker_settings(settings)
    with ExitStack() as stack:
        locks = stack.enter_context(_locks(settings, layout))
        monitor = stack.enter_context(
            monitored_workers(settings.monitoring, run_info(settings, layout), list(shares))
        )
        everyone: list[Listener] = [*listeners, tally]
        if settings.operations.report is not None:
            everyone.append(stack.enter_context(job_log(settings.operations.report)))
        everyone.append(JobProgress(stack.enter_context(progress("pair", 0, is_shown=show_progress))))
        team = Team(
            orders_of("run", shares, monitor.health.id, holds_input=bool(locks)),
            monitor,
            everyone,
            kept_open=locks,
            # A progress bar hides less than warnings; a service has none.
            stop_level=logging.INFO if settings.spool.continuous else logging.WARNING,
        )
        look_for_stop_file = _stopping_by_file(settings, layout, team)
        look_for_stop_file()
        team.work(look_for_stop_file)
        if not settings.spool.continuous:
            found = survey(layout.input, settings.spool, layout.suffixes).leftovers
            tell_leftovers(layout, found, did_nothing=not tally.outcomes)
        if tally.done:
            with summary_despite_errors(tally):
                _write_datasets(settings, layout)
    return outcome_of(settings, layout, tally, is_stopped=team.is_stopped)


@contextmanager
def _locks(settings: Settings, layout: Layout) -> Iterator[Sequence[int]]:
    """The descriptors of the locks that the workers inherit: that of the input, with --exclusive."""
    with ExitStack() as stack:
        locks = []
        if settings.spool.exclusive:
            with translated_os_errors("prepare the spool in", layout.input):
                locks.append(stack.enter_context(held_input(layout, exclusive=True)))
        yield locks


def _stopping_by_file(settings: Settings, layout: Layout, team: Team) -> Callable[[], None]:
    """What looks for the stop file: the first worker to see it would keep it from the others."""
    name = settings.spool.stop_file

    def look() -> None:
        if name is not None and not team.is_stopped and took_stop_file(layout.input / name):
            team.stop()

    return look


def _write_datasets(settings: Settings, layout: Layout) -> None:
    """Needs what the workers needed, and so is imported only for settings that ask for data sets."""
    from sampoll.config.plugins import DATASETS, plugins

    if set(plugins(DATASETS)).isdisjoint(settings.outputs.names):
        return
    from sampoll.app.export import write_datasets
    from sampoll.app.plan import plan_of

    write_datasets(layout.output, plan_of(settings, layout).datasets)
