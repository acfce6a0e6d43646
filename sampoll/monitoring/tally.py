"""The counts behind the summary and the exit code of a run or a service."""

import time
from threading import Lock

from sampoll.core.errors import JobError
from sampoll.core.events import (
    Backlog,
    EndedBefore,
    Event,
    InputScanned,
    JobDone,
    JobFailed,
    JobSkipped,
)
from sampoll.core.summary import CommandSummary
from sampoll.core.wording import counted

MAX_NAMED_FAILURES = 5


class Tally:
    """A listener that counts outcomes; thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._started = time.monotonic()
        self.done = 0
        self.skips = 0
        self.failures = 0
        self.failures_before = 0
        self.first_failures: list[tuple[str, JobError]] = []
        self.skipped_prompts = 0
        self.last_backlog = Backlog()

    def __call__(self, event: Event) -> None:
        with self._lock:
            match event:
                case InputScanned(backlog):
                    self.last_backlog = backlog
                case EndedBefore(done, failed):
                    self.skips += done
                    self.failures_before += failed
                case JobDone(summary=summary):
                    self.done += 1
                    self.skipped_prompts += len(summary.skipped)
                case JobSkipped():
                    self.skips += 1
                case JobFailed(name, _, error):
                    self.failures += 1
                    if len(self.first_failures) < MAX_NAMED_FAILURES:
                        self.first_failures.append((name, error))

    @property
    def outcomes(self) -> int:
        """How many jobs have one."""
        return self.done + self.skips + self.failures

    def summary(self) -> CommandSummary:
        backlog = self.last_backlog
        figures = {
            "done": self.done,
            "skipped": self.skips,
            "failed": self.failures,
            "failed_before": self.failures_before,
            "deferred": backlog.deferred,
            "passed_over": backlog.passed_over,
            "half": backlog.half,
            "skipped_prompts": self.skipped_prompts,
            "seconds": round(time.monotonic() - self._started, 3),
        }
        return CommandSummary(f"{self._counts()} in {figures['seconds']:.1f} s", figures)

    def _counts(self) -> str:
        backlog = self.last_backlog
        parts = [f"{self.done} done", f"{self.failures} failed"]
        if self.skips:
            parts.insert(1, f"{self.skips} done before")
        if self.failures_before:
            parts.append(f"{self.failures_before} failed before")
        if self.skipped_prompts:
            parts.append(f"{counted(self.skipped_prompts, 'bad prompt')} skipped")
        if backlog.deferred:
            parts.append(f"{backlog.deferred} to be tried again")
        if backlog.passed_over:
            parts.append(f"{backlog.passed_over} passed over")
        if backlog.half:
            parts.append(f"{counted(backlog.half, 'half pair')} left")
        return ", ".join(parts)
