"""Commands on a pseudo terminal."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping
from dataclasses import dataclass

from support.process import SAMPOLL, environment

COLUMNS = 120
COLOURS = {"TERM": "xterm-256color", "NO_COLOR": "", "FORCE_COLOR": ""}


@dataclass(frozen=True)
class Seen:
    """What a command wrote to a terminal: every character, and the lines that remain on the screen."""

    exit_code: int
    text: str

    @property
    def lines(self) -> list[str]:
        """A carriage return begins the line again: the last text is what is seen, if it covers the others."""
        return [line.rstrip("\r").rpartition("\r")[2] for line in self.text.split("\n")]


def on_a_terminal(*arguments: object, env: Mapping[str, str] | None = None) -> Seen:
    """Runs the real command with its standard output and standard error on a terminal with colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    command = list(map(str, (SAMPOLL, *arguments)))
    variables = environment({**COLOURS, "SAMPOLL_LOG_FORMAT": "", **(env or {})})
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables) as process:
        os.close(theirs)
        parts = []
        while part := _read(ours):
            parts.append(part)
        exit_code = process.wait()
    os.close(ours)
    return Seen(exit_code, b"".join(parts).decode())


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""
