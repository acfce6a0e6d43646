"""--report FILE.jsonl: one line of JSON for each outcome of a job."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import IO, Any

import orjson

from sampoll.core.errors import JobError, translated_os_errors
from sampoll.core.events import Events
from sampoll.core.names import RECORD_SUFFIX, printable


class RunReport(Events):
    """Writes a line at once, so that what has happened is there whatever happens next."""

    def __init__(self, file: IO[bytes], output: Path) -> None:
        self._file = file
        self._output = output
        self._lock = Lock()

    def delivered(self, name: str, job_id: str, stem: str) -> None:
        self._write("done", name, job_id, **self._result(stem))

    def skipped(self, name: str, job_id: str, stem: str) -> None:
        self._write("skipped", name, job_id, **self._result(stem))

    def failed(self, name: str, job_id: str, error: JobError) -> None:
        self._write("failed", name, job_id, code=error.code, error=printable(str(error)))

    def deferred(self, name: str, job_id: str, error: JobError, delay_seconds: float) -> None:
        self._write(
            "deferred",
            name,
            job_id,
            code=error.code,
            error=printable(str(error)),
            delay_seconds=round(delay_seconds, 3),
        )

    def _result(self, stem: str) -> dict[str, Any]:
        """What the record of a result says, as far as it can be read by now."""
        path = stem + RECORD_SUFFIX
        try:
            meta = orjson.loads((self._output / path).read_bytes())["meta"]
            files, seconds = orjson.loads(meta["files"]), orjson.loads(meta["seconds"])
        except (OSError, ValueError, TypeError, KeyError):
            return {"record": printable(path)}
        return {"record": printable(path), "files": list(files), "seconds": seconds}

    def _write(self, outcome: str, name: str, job_id: str, **more: Any) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "outcome": outcome, "name": printable(name), "job_id": job_id, **more}
        with self._lock, translated_os_errors("write the report", self._file.name):
            self._file.write(orjson.dumps(line) + b"\n")
            self._file.flush()


@contextmanager
def run_report(path: Path, output: Path) -> Iterator[RunReport]:
    """A report to the end of a file, which is created where it is missing."""
    with translated_os_errors("open the report", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    with file:
        yield RunReport(file, output)
