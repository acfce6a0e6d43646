"""What a run shows at its end: where the results are, what failed, and which commands lead on."""

import logging
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sampoll.app.run_outcome import RunOutcome
from sampoll.cli.logs import is_for_people, show_summary
from sampoll.cli.output import show_table, tell
from sampoll.core.errors import JobError
from sampoll.core.summary import CommandSummary
from sampoll.core.wording import counted
from sampoll.spool.layout import Layout

log = logging.getLogger(__name__)


def show_run_end(outcome: RunOutcome, layout: Layout) -> None:
    """The end of `sampoll run`."""
    show_end(outcome.exit_code, outcome.summary, outcome.first_failures, _next_steps(outcome, layout))


def show_end(
    exit_code: int,
    summary: CommandSummary,
    first_failures: Sequence[tuple[str, JobError]],
    next_steps: Iterable[str],
) -> None:
    """The summary, and for people some lines after it: on a terminal, or in a text log."""
    show_summary(summary, exit_code)
    if not is_for_people():
        return
    if not sys.stderr.isatty():
        for line in next_steps:
            log.info("%s", line)
        return
    rows = [(name, f"{error.code}: {error}") for name, error in first_failures]
    show_table(("failed", "because of"), rows)
    if more := int(summary.figures["failed"]) - len(rows):
        tell(f"and {more} more")
    for line in next_steps:
        tell(line)


def _next_steps(outcome: RunOutcome, layout: Layout) -> Iterator[str]:
    if outcome.summary.figures["done"]:
        yield f"the results are in {layout.output}; a page of them: {_report_command(layout)}"
    if outcome.first_failures:
        yield f"what failed, and why: {_command('failed list --input', layout.input)}"
        retry = _command("failed retry --all --input", layout.input)
        yield f"once it is corrected, try it again: {retry}"
    if outcome.left:
        pairs = counted(outcome.left, "pair is", "pairs are")
        yield f"{pairs} left in {layout.input}; the same command goes on"


def _report_command(layout: Layout) -> str:
    command = f"{_command('report', layout.output)} --input {shlex.quote(str(layout.input))}"
    if layout.done is None or layout.done.is_relative_to(layout.input):
        return command
    return f"{command} --images {shlex.quote(str(layout.done))}"


def _command(words: str, directory: Path) -> str:
    return f"sampoll {words} {shlex.quote(str(directory))}"
