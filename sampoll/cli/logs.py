"""Sets up the logging of every command that has settings."""

import logging
import sys
from textwrap import indent
from typing import Any, Literal, TypeAlias

from pythonjsonlogger.json import JsonFormatter

from sampoll.cli.output import presentable, presentable_json, presentable_lines
from sampoll.config.resolve import Resolved

log = logging.getLogger(__name__)

LogFormat: TypeAlias = Literal["auto", "text", "json"]


def set_up_logging(resolved: Resolved, *, show_progress: bool) -> None:
    """Logs to standard error, as text or JSON lines; with a progress bar only warnings, unless the user has
    set the log level."""
    operations = resolved.settings.operations
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(operations.log_format))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)  # of libraries, about damaged images for example
    logging.getLogger("watchdog").setLevel("CRITICAL")  # it reports its own orderly end as an error
    # The progress bar already shows what the log lines would, so they need an explicit log level.
    quieter = show_progress and "log-level" not in resolved.origins
    logging.getLogger("sampoll").setLevel("WARNING" if quieter else operations.log_level.upper())


def set_up_last_resort() -> None:
    """Commands that set up no logging show warnings as other logs have them."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Text("%(message)s"))


def log_exit(level: int, message: str, event: str, *, with_traceback: bool = False) -> bool:
    """Logs how a command ended, if the log is JSON; returns False if it is text, because the caller then
    prints the message."""
    is_json = any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)
    if is_json:
        log.log(level, "%s", message, extra={"event": event}, exc_info=with_traceback)
    return is_json


class _Text(logging.Formatter):
    """Text for people: one line a message, even if file names contain line breaks, and then any traceback,
    indented, so that none of its lines looks like a message."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return presentable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return indent(presentable_lines(super().formatException(ei)), "    ")


class _Json(JsonFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return presentable_json(super().format(record))


def _formatter(wanted: LogFormat) -> logging.Formatter:
    if wanted == "text" or (wanted == "auto" and sys.stderr.isatty()):
        return _Text("%(asctime)s %(levelname)s %(message)s")
    return _Json(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp=True,
    )
