"""Listeners for the terminal: the log, a progress bar, and the tally behind the summary and the exit code."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from sampoll.core.errors import BadPrompt
from sampoll.core.events import (
    Backlog,
    Event,
    InputScanned,
    JobDeferred,
    JobDone,
    JobFailed,
    JobSkipped,
    PassedOver,
)
from sampoll.core.jobs import SkippedPrompt
from sampoll.core.names import printable

log = logging.getLogger("sampoll.jobs")

MAX_SKIPPED_PROMPTS = 100
"""How many skipped prompts of one job have a line of their own; a file may have thousands."""


def log_jobs(event: Event) -> None:
    """A listener: one line for each job, and for each path that is passed over."""
    match event:
        case JobDone(name, job_id, result, summary):
            more = _about("done", name, job_id, result=result)
            log.info("%s: done%s [%s]", printable(name), _as(name, result), job_id, extra=more)
            _log_skipped_prompts(name, job_id, summary.skipped)
        case JobSkipped(name, job_id, result):
            more = _about("skipped", name, job_id, result=result)
            log.info("%s: done before%s [%s]", printable(name), _as(name, result), job_id, extra=more)
        case JobFailed(name, job_id, error):
            more = _about("failed", name, job_id, code=error.code)
            log.error("%s: failed: %s [%s]", printable(name), error, job_id, extra=more)
        case JobDeferred(name, job_id, error, delay_seconds):
            more = _about("deferred", name, job_id, code=error.code)
            message = "%s: %s; trying again in %.1f s [%s]"
            log.warning(message, printable(name), error, delay_seconds, job_id, extra=more)
        case PassedOver(path, error):
            fields = {"event": "passed-over", "pair": printable(path), "code": error.code}
            log.error("%s: passed over: %s", printable(path), error, extra=fields)


def _log_skipped_prompts(name: str, job_id: str, skipped: Sequence[SkippedPrompt]) -> None:
    for prompt in skipped[:MAX_SKIPPED_PROMPTS]:
        more = _about("prompt-skipped", name, job_id, field=prompt.field, code=BadPrompt.code)
        log.warning("%s: skipped: %s [%s]", printable(name), prompt.message, job_id, extra=more)
    if len(skipped) > MAX_SKIPPED_PROMPTS:
        more = _about("prompts-skipped", name, job_id)
        message = "%s: %d more bad prompts skipped; the record lists them all [%s]"
        log.warning(message, printable(name), len(skipped) - MAX_SKIPPED_PROMPTS, job_id, extra=more)


class Tally:
    """Counts outcomes; thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._started = time.monotonic()
        self.done = 0
        self.skips = 0
        self.failures = 0
        self.skipped_prompts = 0
        self.last_backlog = Backlog()

    def __call__(self, event: Event) -> None:
        with self._lock:
            match event:
                case InputScanned(backlog):
                    self.last_backlog = backlog
                case JobDone(summary=summary):
                    self.done += 1
                    self.skipped_prompts += len(summary.skipped)
                case JobSkipped():
                    self.skips += 1
                case JobFailed():
                    self.failures += 1

    def summary(self) -> str:
        """One line for people."""
        backlog = self.last_backlog
        parts = [f"{self.done} done", f"{self.failures} failed"]
        if self.skips:
            parts.insert(1, f"{self.skips} done before")
        if self.skipped_prompts:
            parts.append(f"{self.skipped_prompts} bad prompt{'s' * (self.skipped_prompts > 1)} skipped")
        if backlog.deferred:
            parts.append(f"{backlog.deferred} to be tried again")
        if backlog.passed_over:
            parts.append(f"{backlog.passed_over} passed over")
        if backlog.half:
            parts.append(f"{backlog.half} half pair{'s' * (backlog.half > 1)} left")
        return f"{', '.join(parts)} in {time.monotonic() - self._started:.1f} s"


class ProgressBar:
    """Shows finished jobs out of all that are known; hidden while none are known."""

    def __init__(self, bar: "tqdm[Any]") -> None:
        self._bar = bar

    def __call__(self, event: Event) -> None:
        match event:
            case InputScanned(backlog):
                self._bar.total = max(self._bar.total or 0, self._bar.n + backlog.ready + backlog.settling)
                self._bar.disable = not self._bar.total
                self._bar.refresh()
            case JobDone() | JobSkipped() | JobFailed():
                self._bar.update()


@contextmanager
def progress_bar() -> Iterator[ProgressBar]:
    bar: tqdm[Any] = tqdm(total=0, unit="pair", dynamic_ncols=True, delay=1e-3)
    with bar, logging_redirect_tqdm():
        yield ProgressBar(bar)


def _about(event: str, name: str, job_id: str, **more: str) -> dict[str, str]:
    """The fields of a JSON log line besides the message."""
    return {"event": event, "job": job_id, "pair": printable(name)} | {
        key: printable(value) for key, value in more.items()
    }


def _as(name: str, stem: str) -> str:
    return "" if name == stem else f" as {printable(stem)}"
