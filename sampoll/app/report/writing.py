"""The report about an output, as one HTML file that needs no other files except the pictures there."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from sampoll.app.failed import failed_in_folder
from sampoll.app.report.summaries import Summary, stages_of, summary_of
from sampoll.app.result_store import CommittedResults
from sampoll.core.errors import InputUnavailable, JobError, translated_os_errors
from sampoll.core.failures import FailedJob
from sampoll.core.names import printable
from sampoll.core.summary import CommandSummary
from sampoll.files.atomic import replace_file
from sampoll.formats.registry import thumbnail_suffixes
from sampoll.monitoring.templates import page_template

REPORT = "report.html"


def write_report(output: Path, input_directory: Path | None) -> tuple[int, CommandSummary]:
    """Writes OUTPUT/report.html about every committed result and, if the input is known, every failed pair;
    returns the exit code and a summary."""
    if not output.is_dir():
        raise InputUnavailable(f"no output directory {output}")
    failed = [] if input_directory is None else list(failed_in_folder(input_directory).jobs())
    results = CommittedResults(output)
    summaries = list(_summaries(results))
    page = _render(output, summaries, failed, input_directory)
    with translated_os_errors("write the report to", output):
        replace_file(output / REPORT, page.encode("utf-8", "replace"))
    line = f"{output / REPORT}: {len(summaries)} results"
    if input_directory is not None:
        line += f", {len(failed)} failed pairs"
    if results.unreadable:
        line += f", {len(results.unreadable)} records that cannot be read"
    figures = {"results": len(summaries), "failed": len(failed), "unreadable": len(results.unreadable)}
    return (JobError.exit_code if results.unreadable else 0), CommandSummary(line, figures)


def _summaries(results: CommittedResults) -> Iterator[Summary]:
    thumbnails = thumbnail_suffixes()
    for name, record in results.records():
        try:
            summary = summary_of(record, name, thumbnails)
        except ValueError as error:
            results.leave_out(name, str(error))
            continue
        yield summary


def _render(
    output: Path, summaries: Sequence[Summary], failed: Sequence[FailedJob], input_directory: Path | None
) -> str:
    return page_template("sampoll.app.report", "report.html.jinja").render(
        output=printable(str(output.absolute())),
        made=datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
        results=summaries,
        stages=stages_of(summaries),
        failed=[
            {
                "name": job.name,
                "at": job.last_failure.local_time,
                "attempts": job.attempts,
                "code": job.last_failure.code,
                "message": printable(job.last_failure.message),
            }
            for job in failed
        ],
        knows_failures=input_directory is not None,
    )
