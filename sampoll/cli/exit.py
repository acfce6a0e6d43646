"""Begins every command with usable standard streams, and ends it with its exit code, and with a one-sentence
message after an error."""

import atexit
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from sampoll.app.process_end import keep_until_the_end
from sampoll.cli.logs import hold_back_warnings, show_bug, show_error, show_warnings
from sampoll.cli.output import ReaderGone, open_standard_streams
from sampoll.core.errors import SampollError
from sampoll.files.home import this_user

log = logging.getLogger(__name__)

OBJECTS_BETWEEN_COLLECTIONS = 10_000
"""Imports make some 100,000 objects that live as long as the process. Python would search them for garbage
again and again: every 700 objects, up to 3.13."""


def run_and_exit(command: Callable[[], int], name: str, *, has_look: bool = True) -> NoReturn:
    """Runs `command` and exits with the code that it returns, or with the exit code of its error. Without the
    look of sampoll, its errors have no colour."""
    is_alone = _is_alone(name)
    if is_alone:
        keep_until_the_end()
        gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    open_standard_streams()
    hold_back_warnings()
    threading.excepthook = _log_end_of_thread
    _name_this_user()
    try:
        _run_and_raise(command, name, has_look=has_look)
    except SystemExit as ended:
        if is_alone and isinstance(ended.code, int):
            _leave(ended.code)
        raise


def _run_and_raise(command: Callable[[], int], name: str, *, has_look: bool) -> NoReturn:
    """SystemExit with the exit code of the process."""
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


def _is_alone(name: str) -> bool:
    """Whether Python was started for the command of this name, and not for a program, a profiler or a
    debugger that calls it."""
    started = sys.orig_argv[1:3]
    return started == ["-m", name] or Path(*started[:1]).name == name


def _leave(exit_code: int) -> NoReturn:
    """Ends the process as Python does, but leaves its memory to the system: to free compiled models one part
    after the other takes a tenth of a short run."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(exit_code)


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    """Python itself would write the traceback to standard error as it is."""
    log.critical("a thread ended because of a bug in sampoll, or in a plug-in", exc_info=ended.exc_value)


def _name_this_user() -> None:
    """Gives this user a name if the environment has none: libraries put it into the names of their caches,
    and fail if the user is only a number, as in `docker run --user 12345`."""
    if not any(os.environ.get(variable) for variable in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        os.environ["LOGNAME"] = f"uid{this_user()}"
