"""Ends every command with its exit code, and with a one-sentence message after an error."""

import logging
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from sampoll.cli.logs import log_exit
from sampoll.core.errors import SampollError


def run_and_exit(command: Callable[[], int], name: str) -> NoReturn:
    """Runs `command` and exits with the code that it returns, or with the exit code of its error."""
    try:
        sys.exit(command())
    except SampollError as error:
        if not log_exit(logging.ERROR, str(error), "end"):
            _say(name, str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception:  # noqa: BLE001  the top of the process
        message = "this is a bug in sampoll; nothing is lost. Please report it with all that was logged"
        if not log_exit(logging.CRITICAL, message, "end", with_traceback=True):
            traceback.print_exc()
            _say(name, message)
        sys.exit(SampollError.exit_code)


def _say(name: str, message: str) -> None:
    sys.stderr.write(f"{name}: {message}\n")
