"""Sets up the logging of every command that has settings."""

import logging
import sys
import traceback
from textwrap import indent
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from sampoll.cli.look import styled
from sampoll.cli.output import (
    above_bars,
    presentable,
    presentable_json,
    presentable_lines,
    show_aside,
    tell,
)
from sampoll.config.resolve import Resolved
from sampoll.config.settings.operations import OperationSettings
from sampoll.core.errors import Interrupted, JobError, SampollError
from sampoll.core.summary import CommandSummary

log = logging.getLogger(__name__)

PLAIN = "%(asctime)s %(levelname)s %(message)s"


def shows_progress(operations: OperationSettings) -> bool:
    """Whether a command shows how far it is: on a terminal, where nobody has asked for less or for JSON."""
    from sampoll.monitoring.progress_bar import can_show_progress

    is_wanted = operations.progress and not operations.quiet and operations.log_format == "text"
    return is_wanted and can_show_progress()


def set_up_logging(resolved: Resolved, *, show_progress: bool, has_look: bool = True) -> None:
    """Logs to standard error, as text or JSON lines; with a progress bar only warnings, unless the user has
    set the log level. Without the look of sampoll, a terminal gets the same text as a file."""
    operations = resolved.settings.operations
    handler = _StandardError()
    handler.setFormatter(_formatter(operations, has_look=has_look))
    # The progress bar already shows what the log lines would, so they need an explicit log level.
    quieter = show_progress and "log-level" not in resolved.origins
    handler.setLevel("WARNING" if quieter else operations.log_level.upper())
    if operations.quiet:
        handler.setLevel("ERROR")
        handler.is_quiet = True
    _show_held_back(handler)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)  # of libraries, about damaged images for example
    logging.getLogger("watchdog").setLevel("CRITICAL")  # it reports its own orderly end as an error
    logging.getLogger("sampoll").setLevel(handler.level)


def hold_back_warnings() -> None:
    """What is logged before the settings are known waits for them; commands without a log show it at their
    end."""
    logging.getLogger().addHandler(_HeldBack(logging.WARNING))


def show_warnings() -> None:
    """Shows what a command without a log has logged."""
    handler = _StandardError()
    handler.setFormatter(_Text("%(message)s"))
    _show_held_back(handler)


def show_summary(summary: CommandSummary, exit_code: int = 0) -> None:
    """What a command has done: a line on standard output, or in a JSON log; nothing with --quiet."""
    if _is_json():
        log.info("%s", summary, extra={"event": "summary", "exit_code": exit_code, **summary.figures})
    elif is_for_people():
        show_aside(summary.line)


def is_for_people() -> bool:
    """Whether a command may write more than errors, as text."""
    return not _is_json() and not _is_quiet()


def show_error(error: SampollError, command: str, *, has_look: bool = True) -> None:
    """Why a command has ended: a line of the log, if that is JSON. To run it again later is no error, so
    --quiet leaves that out."""
    again = isinstance(error, Interrupted)
    if _is_json():
        fields = {"event": "end", "exit_code": error.exit_code, "error": type(error).__name__}
        fields |= {"code": error.code} if isinstance(error, JobError) else {}
        log.log(logging.WARNING if again else logging.ERROR, "%s", error, extra=fields)
    elif not (again and _is_quiet()):
        tell(f"{command}: {error}", marks=len(command) if has_look else 0)


def show_bug(error: BaseException, command: str, *, has_look: bool = True) -> None:
    """The traceback of an error that is a fault of the program, and what to do about it."""
    message = "this is a bug in sampoll; nothing is lost. Please report it with all that was logged"
    if _is_json():
        fields = {"event": "end", "exit_code": SampollError.exit_code, "error": type(error).__name__}
        log.critical(message, extra=fields, exc_info=error)
        return
    for line in "".join(traceback.format_exception(error)).splitlines():
        tell(line)
    tell(f"{command}: {message}", marks=len(command) if has_look else 0)


def _is_json() -> bool:
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)


def _is_quiet() -> bool:
    return any(getattr(handler, "is_quiet", False) for handler in logging.getLogger().handlers)


class _StandardError(logging.StreamHandler[Any]):
    """Writes lines above the bars on a terminal."""

    is_quiet = False

    def emit(self, record: logging.LogRecord) -> None:
        with above_bars():
            super().emit(record)


class _HeldBack(logging.Handler):
    """Keeps records until it is known how they are to be shown."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _show_held_back(handler: logging.Handler) -> None:
    root = logging.getLogger()
    for holder in [holder for holder in root.handlers if isinstance(holder, _HeldBack)]:
        root.removeHandler(holder)
        for record in holder.records:
            if record.levelno >= handler.level:
                handler.handle(record)


class _Text(logging.Formatter):
    """Text for people: one line a message, even if file names contain line breaks, and then any traceback,
    indented, so that none of its lines looks like a message. Lines about a job end with its id."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        job = getattr(record, "job", None)
        return presentable(super().formatMessage(record) + (f" [{job}]" if job else ""))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return indent(presentable_lines(super().formatException(ei)), "    ")


class _TerminalText(_Text):
    """The same for a terminal: levels in colour; ids of jobs are for programs, and for --log-level debug."""

    def __init__(self, *, has_ids: bool) -> None:
        super().__init__()
        self._has_ids = has_ids

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        clock = styled(self.formatTime(record, "%H:%M:%S"), "aside", sys.stderr)
        level = styled(f"{record.levelname:<7}", record.levelname.lower(), sys.stderr)
        message = super().formatMessage(record) if self._has_ids else presentable(record.message)
        return f"{clock} {level} {message}"


class _Json(JsonFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return presentable_json(super().format(record))


def _formatter(operations: OperationSettings, *, has_look: bool) -> logging.Formatter:
    if operations.log_format == "json":
        return _Json(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp=True,
        )
    if has_look and sys.stderr.isatty():
        return _TerminalText(has_ids=operations.log_level == "debug")
    return _Text(PLAIN)
