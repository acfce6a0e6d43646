"""How every command of ours ends: with its exit code, and one sentence about what went wrong."""

import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from sampoll.errors import SampollError


def end_with(command: Callable[[], int], name: str) -> NoReturn:
    """Runs `command` and exits with what it returns, or with what its error stands for."""
    try:
        sys.exit(command())
    except SampollError as error:
        _say(name, str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception:  # noqa: BLE001  the top of the process
        traceback.print_exc()
        _say(name, "this is a bug in sampoll; nothing is lost. Please report it with the lines above")
        sys.exit(SampollError.exit_code)


def _say(name: str, message: str) -> None:
    sys.stderr.write(f"{name}: {message}\n")
