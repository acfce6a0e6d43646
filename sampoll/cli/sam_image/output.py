"""Standard output and standard error of the commands of the SAM image."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

from sampoll.core.names import printable


def say(*lines: str) -> None:
    """Writes lines to standard output. Names in them can neither begin a line nor control a terminal."""
    _write(sys.stdout, lines)


def say_now(message: str, *more_lines: str) -> None:
    """Writes a message after the date and the time, as the original commands do."""
    say(f"{datetime.now()} - {message}", *more_lines)


def complain(message: str) -> None:
    """Writes a line to standard error."""
    _write(sys.stderr, [message])


def _write(stream: TextIO | None, lines: Sequence[str]) -> None:
    if stream is None:  # closed by the caller
        return
    encoding = stream.encoding or "utf-8"
    text = "".join(f"{printable(line)}\n" for line in lines)
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
