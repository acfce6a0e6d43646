"""The log of jobs: what its lines say, and the facts that they have as fields for programs."""

import logging
from collections.abc import Sequence
from typing import Any

from sampoll.core.errors import BadPrompt, JobError
from sampoll.core.events import Event, JobDeferred, JobDone, JobFailed, JobSkipped, PassedOver
from sampoll.core.names import printable
from sampoll.core.result_summary import NO_SUMMARY, ResultSummary, SkippedPrompt

log = logging.getLogger("sampoll.jobs")

MAX_SKIPPED_PROMPTS = 100
"""How many skipped prompts of one job have a line of their own; a file may have thousands."""


def log_jobs(event: Event) -> None:
    """A listener: one line for each job, and for each path that is passed over."""
    match event:
        case JobDone(name, job_id, result, summary):
            more = _about("done", name, job_id) | _about_result(result, summary)
            log.info("%s: done%s", printable(name), _as(name, result), extra=more)
            _log_skipped_prompts(name, job_id, summary.skipped)
        case JobSkipped(name, job_id, result, summary):
            more = _about("skipped", name, job_id) | _about_result(result, summary)
            log.info("%s: done before%s", printable(name), _as(name, result), extra=more)
        case JobFailed(name, job_id, error):
            more = _about("failed", name, job_id) | _about_error(error)
            log.error("%s: failed: %s", printable(name), error, extra=more)
        case JobDeferred(name, job_id, error, delay_seconds):
            more = _about("deferred", name, job_id) | _about_error(error)
            more["delay_seconds"] = round(delay_seconds, 3)
            log.warning("%s: %s; trying again in %.1f s", printable(name), error, delay_seconds, extra=more)
        case PassedOver(path, error):
            more = {"event": "passed-over", "pair": printable(path)} | _about_error(error)
            log.error("%s: passed over: %s", printable(path), error, extra=more)


def _log_skipped_prompts(name: str, job_id: str, skipped: Sequence[SkippedPrompt]) -> None:
    for prompt in skipped[:MAX_SKIPPED_PROMPTS]:
        more = _about("prompt-skipped", name, job_id)
        more |= {"code": BadPrompt.code, "error": printable(prompt.message), "field": printable(prompt.field)}
        log.warning("%s: skipped: %s", printable(name), prompt.message, extra=more)
    if (others := len(skipped) - MAX_SKIPPED_PROMPTS) > 0:
        more = _about("prompts-skipped", name, job_id) | {"count": others}
        log.warning(
            "%s: %d more bad prompts skipped; the record lists them all", printable(name), others, extra=more
        )


def _about(event: str, name: str, job_id: str) -> dict[str, Any]:
    """The fields of every line about a job; text logs show the job where it helps."""
    return {"event": event, "job": job_id, "pair": printable(name)}


def _about_result(result: str, summary: ResultSummary) -> dict[str, Any]:
    """The fields of a line about a published result."""
    fields: dict[str, Any] = {"result": printable(result)}
    if summary is not NO_SUMMARY:
        fields["masks"] = summary.masks
        fields["scores"] = [[round(score, 4) for score in scores] for scores in summary.scores]
        fields["seconds"] = {stage: round(seconds, 6) for stage, seconds in summary.seconds.items()}
    return fields


def _about_error(error: JobError) -> dict[str, Any]:
    """The fields of a line about an error: its code, its message, and the file and the field at fault."""
    fields = {"code": error.code, "error": printable(str(error))}
    at_fault = {"file": error.file, "field": error.field}
    return fields | {key: printable(value) for key, value in at_fault.items() if value}


def _as(name: str, stem: str) -> str:
    return "" if name == stem else f" as {printable(stem)}"
