"""Begins every command with usable standard streams, and ends it with its exit code, and with a one-sentence
message after an error."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from sampoll.cli.logs import hold_back_warnings, show_bug, show_error, show_warnings
from sampoll.cli.output import ReaderGone, open_standard_streams
from sampoll.core.errors import SampollError
from sampoll.files.home import this_user

log = logging.getLogger(__name__)


def run_and_exit(command: Callable[[], int], name: str, *, has_look: bool = True) -> NoReturn:
    """Runs `command` and exits with the code that it returns, or with the exit code of its error. Without the
    look of sampoll, its errors have no colour."""
    open_standard_streams()
    hold_back_warnings()
    threading.excepthook = _log_end_of_thread
    _name_this_user()
    try:
        try:
            exit_code = command()
        finally:
            show_warnings()
            sys.stdout.flush()  # argparse leaves its help there
        sys.exit(exit_code)
    except SampollError as error:
        if not isinstance(error, ReaderGone):
            show_error(error, name, has_look=has_look)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:  # noqa: BLE001  the top of the process
        show_bug(error, name, has_look=has_look)
        sys.exit(SampollError.exit_code)


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    """Python itself would write the traceback to standard error as it is."""
    log.critical("a thread ended because of a bug in sampoll, or in a plug-in", exc_info=ended.exc_value)


def _name_this_user() -> None:
    """Gives this user a name if the environment has none: libraries put it into the names of their caches,
    and fail if the user is only a number, as in `docker run --user 12345`."""
    if not any(os.environ.get(variable) for variable in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        os.environ["LOGNAME"] = f"uid{this_user()}"
