"""NAME.error.json: says why a pair has failed, for users, and for retries from failed/. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from sampoll.core.failures import Failure
from sampoll.core.filenames import is_version_of, split_name
from sampoll.core.names import printable
from sampoll.spool.state import CRASHED, JobState, is_job_id

ERROR_SUFFIX = ".error.json"
MAX_REPORT_BYTES = 16 * 2**20


def error_report(state: JobState) -> bytes:
    """The report on a job that was refused."""
    *earlier, last = [_shown(failure) for failure in state.failures]
    report = {
        "error": last,
        "name": printable(state.name),
        "files": [printable(name) for name in state.files],
        "folder": printable(state.folder),
        "job_id": state.job_id,
        "attempts": state.attempts,
        "earlier_errors": earlier,
        "sampoll": version("sampoll"),
    }
    return json.dumps(report, indent=2).encode("ascii")


def _shown(failure: Failure) -> dict[str, Any]:
    shown = {
        **asdict(failure),
        "file": failure.file and printable(failure.file),
        "at": datetime.fromtimestamp(failure.at, UTC).isoformat(timespec="milliseconds"),
        "sha256": {printable(name): digest for name, digest in failure.sha256.items()},
    }
    return {key: value for key, value in shown.items() if key != "sha256" or value}


def refused_job(content: bytes, folder: str, kept_as: str) -> JobState | None:
    """The job that a report in `folder` is about, whose files were kept as `kept_as`; None for no report.

    A user may have edited the report: its name is used only if `kept_as` is a version of that name.
    """
    try:
        report = json.loads(content)
        name = report["name"] if is_version_of(kept_as, report["name"]) else kept_as
        files = tuple(name + split_name(file)[1] for file in report["files"])
        failures = tuple(_failure(shown) for shown in (*report["earlier_errors"], report["error"]))
        job_id, attempts = report["job_id"], int(report["attempts"])
        if not is_job_id(job_id):
            return None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    return JobState(
        job_id,
        name,
        files=files,
        folder=folder,
        attempts=attempts,
        suspect=any(failure.code == CRASHED for failure in failures),
        kept_as=kept_as,
        rejected=True,
        failures=failures,
    )


def _failure(shown: Mapping[str, Any]) -> Failure:
    return Failure(
        code=str(shown["code"]),
        message=str(shown["message"]),
        at=datetime.fromisoformat(shown["at"]).timestamp(),
        file=shown.get("file"),
        field=shown.get("field"),
        sha256={str(name): str(digest) for name, digest in shown.get("sha256", {}).items()},
    )
