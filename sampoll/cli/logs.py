"""What is logged, and how, by every command that takes settings."""

import logging
import sys
from typing import Literal, TypeAlias

from pythonjsonlogger.json import JsonFormatter

from sampoll.config.resolve import Resolved
from sampoll.core.names import printable

log = logging.getLogger(__name__)

LogFormat: TypeAlias = Literal["auto", "text", "json"]


def set_up_logging(resolved: Resolved, *, show_progress: bool) -> None:
    """Lines on standard error, of text or of JSON; only warnings beside a progress bar, unless the user asked
    for more."""
    operations = resolved.settings.operations
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(operations.log_format))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)  # of libraries, about damaged images for example
    logging.getLogger("watchdog").setLevel("CRITICAL")  # it reports its own orderly end as an error
    # Unless the user asked for lines, the progress bar shows the same.
    quieter = show_progress and "log-level" not in resolved.origins
    logging.getLogger("sampoll").setLevel("WARNING" if quieter else operations.log_level.upper())


def log_exit(level: int, message: str, event: str, *, with_traceback: bool = False) -> bool:
    """Says how a command ended in the log, if that is JSON; False if it is for people, who are told
    otherwise."""
    is_json = any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)
    if is_json:
        log.log(level, "%s", message, extra={"event": event}, exc_info=with_traceback)
    return is_json


class _Text(logging.Formatter):
    """For people: one line, whatever files are called, and a traceback where there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return printable(super().formatMessage(record))


def _formatter(wanted: LogFormat) -> logging.Formatter:
    if wanted == "text" or (wanted == "auto" and sys.stderr.isatty()):
        return _Text()
    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp=True,
    )
