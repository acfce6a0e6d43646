"""--report FILE.jsonl: one line of JSON for each outcome of a job, and for each path that is passed over."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import IO, Any

import orjson

from sampoll.core.errors import JobError, translated_os_errors
from sampoll.core.events import Event, JobDeferred, JobDone, JobFailed, JobSkipped, PassedOver
from sampoll.core.names import RECORD_SUFFIX, printable, result_path
from sampoll.core.result_summary import RECORDED_STAGES, ResultSummary


class JobLog:
    """A listener that writes and flushes each line at once, so that a crash of the process loses none."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = Lock()

    def __call__(self, event: Event) -> None:
        match event:
            case JobDone(name, job_id, result, summary):
                self._write("done", name, job_id=job_id, **_about(result, summary))
            case JobSkipped(name, job_id, result, summary):
                self._write("skipped", name, job_id=job_id, **_about(result, summary))
            case JobFailed(name, job_id, error):
                self._write("failed", name, job_id=job_id, **_about_error(error))
            case PassedOver(path, error):
                self._write("passed-over", path, **_about_error(error))
            case JobDeferred(name, job_id, error, delay_seconds):
                delay = round(delay_seconds, 3)
                self._write("deferred", name, job_id=job_id, **_about_error(error), delay_seconds=delay)

    def _write(self, outcome: str, name: str, **more: Any) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "outcome": outcome, "name": printable(name), **more}
        with self._lock, translated_os_errors("write the report", self._file.name):
            self._file.write(orjson.dumps(line) + b"\n")
            self._file.flush()


def _about_error(error: JobError) -> dict[str, str]:
    return {"code": error.code, "error": printable(str(error))}


def _about(result: str, summary: ResultSummary) -> dict[str, Any]:
    """The fields of a line about a published result."""
    name = printable(result)
    skipped = [each.document() for each in summary.skipped]
    return {
        "record": name + RECORD_SUFFIX,
        "files": [result_path(name, suffix) for suffix in summary.suffixes],
        "seconds": {
            stage: round(summary.seconds[stage], 6) for stage in RECORDED_STAGES if stage in summary.seconds
        },
        **({"skipped_prompts": skipped} if skipped else {}),
    }


@contextmanager
def job_log(path: Path) -> Iterator[JobLog]:
    """Lines at the end of a file, which is created where it is missing."""
    with translated_os_errors("open the report", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    with file:
        yield JobLog(file)
