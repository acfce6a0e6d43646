"""The settings of the section [operations]."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from sampoll.config.settings.section import Section, setting
from sampoll.config.settings.values import NamedPath


def _log_format(value: Any) -> Any:
    return "text" if value == "auto" else value  # as files of earlier versions have it


class OperationSettings(Section):
    """How the process behaves towards people."""

    io_threads: Annotated[int, Field(ge=1)] | None = setting(
        None,
        "io-threads",
        "Threads that decode images, and as many that encode results; half the cores, at most 8, if not set.",
        metavar="N",
    )
    report: NamedPath | None = setting(
        None,
        "report",
        "Add a line of JSON to this file for each job: its outcome, seconds a stage, and files.",
        metavar="FILE",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info",
        "log-level",
        "How much is logged to standard error.",
        metavar="debug|info|warning|error",
        is_everyday=True,
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(_log_format)] = setting(
        "text", "log-format", "Log lines of text, or of JSON for programs.", metavar="text|json"
    )
    progress: bool = setting(
        True, "progress", "Show a progress bar if standard error is a terminal and the log is text."
    )
    quiet: bool = setting(
        False,
        "quiet",
        "Write nothing but errors: no other log lines, no progress, no summary.",
        short="-q",
        is_everyday=True,
    )
