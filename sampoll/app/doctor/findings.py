"""What a check finds, and what to do about it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sampoll.core.errors import SampollError
from sampoll.core.names import printable


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check. `advice` says what to do; it can be empty for a SampollError, whose message
    says so itself. `exit_code` is the one that a run would end with."""

    check: str
    level: Level
    message: str
    advice: str = ""
    exit_code: int = 0

    def document(self) -> Mapping[str, str]:
        return {
            "check": self.check,
            "level": self.level.value,
            "message": printable(self.message),
            "advice": printable(self.advice),
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.level.value:<9}{self.check}: {self.message}"
        if self.advice:
            yield f"           -> {self.advice}"


def ok(check: str, message: str) -> Finding:
    return Finding(check, Level.OK, message)


def warning(check: str, message: str, advice: str) -> Finding:
    return Finding(check, Level.WARNING, message, advice)


def error_of(check: str, error: SampollError, advice: str = "") -> Finding:
    return Finding(check, Level.ERROR, str(error), advice, error.exit_code)


def exit_code_of(findings: Sequence[Finding]) -> int:
    """The exit code of the first error, or 0."""
    return next((finding.exit_code for finding in findings if finding.level is Level.ERROR), 0)
