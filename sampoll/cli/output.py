"""The one way of text to standard output and standard error.

Names of files, keys of prompts, and messages of servers and plug-ins may hold any characters. Terminals obey
some of them, and a line break would forge a line. So every line that is written is escaped here, and every
address in it loses its login. JSON keeps exact values, because it has escapes of its own.
"""

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from sampoll.cli.look import styled, table
from sampoll.core.addresses import without_logins
from sampoll.core.errors import StorageTrouble
from sampoll.core.names import printable


class OutputLost(StorageTrouble):
    """Standard output cannot be written."""


class ReaderGone(OutputLost):
    """The program that reads standard output has ended, as `head` does. The exit code is that of SIGPIPE."""

    exit_code = 141  # 128 + SIGPIPE, which not every system has


def open_standard_streams() -> None:
    """Gives each closed standard stream the null device. Otherwise the next file that is opened would get the
    number of its descriptor, and messages would be written into that file.

    Standard output is opened for reading, so that lost results are noticed.
    """
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, mode)  # gets the lowest free number, which is this one
            os.set_inheritable(null, True)
    # Python has None for a stream that was closed when it started.
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115
    encoding = "utf-8" if sys.stdout is None else sys.stdout.encoding
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_StandardOutput(1, "w", closefd=False)), encoding, line_buffering=os.isatty(1)
    )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for what Latin-1 or ASCII cannot hold


def presentable(text: str) -> str:
    """`text` as it may be shown to people: one line, nothing that a terminal obeys, and no login."""
    return printable(without_logins(text))


def presentable_lines(text: str) -> str:
    """The same for a text whose line breaks are ours."""
    return "\n".join(map(presentable, text.split("\n")))


def presentable_json(text: str) -> str:
    """JSON in ASCII as it may be shown: without logins, and with DEL escaped, which JSON itself leaves."""
    return without_logins(text).replace("\x7f", "\\u007f")


def show(line: object, *, marks: int = 0, style: str = "header") -> None:
    """Writes a line of a command's result to standard output; OutputLost if that fails. Its first `marks`
    characters, which must be our own, are shown in a style of `look.STYLES`."""
    _write_text(_marked(str(line), marks, style, sys.stdout))


def show_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes rows of a command's result to standard output: as a table to a terminal, otherwise each in a
    line of its own, without the header. OutputLost if that fails."""
    cells = [tuple(map(presentable, row)) for row in rows]
    if not cells:
        return
    if sys.stdout.isatty():
        _write_text(table(header, cells, sys.stdout).rstrip("\n"))
        return
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        _write_text("  ".join(padded).rstrip())


def show_json(document: Any) -> None:
    """Writes a command's result to standard output as JSON; OutputLost if that fails."""
    _write(f"{presentable_json(json.dumps(document, indent=2))}\n".encode())


def show_path(path: Path) -> None:
    """Writes a path to standard output; for programs it is exact. OutputLost if that fails."""
    if sys.stdout.isatty():
        show(path)
    else:
        _write(os.fsencode(path) + b"\n")


def show_aside(line: str) -> None:
    """Writes a line about work that is done to standard output. If it is lost, standard error has a message,
    and the exit code remains that of the work."""
    try:
        show(line)
    except ReaderGone:
        pass
    except OutputLost as error:
        tell(str(error))


def tell(line: str, *, marks: int = 0) -> None:
    """Writes a line to standard error, if that is possible; its first `marks` characters, which must be our
    own, have the colour of errors."""
    with suppress(OSError), above_bars():
        sys.stderr.write(f"{_marked(line, marks, 'error', sys.stderr)}\n")
        sys.stderr.flush()


@contextmanager
def above_bars() -> Iterator[None]:
    """Lets a block write whole lines to a terminal: bars are removed before it, and drawn again below."""
    if (tqdm := sys.modules.get("tqdm")) is None:  # then there is no bar
        yield
        return
    with tqdm.tqdm.external_write_mode(sys.stderr):
        yield


class _StandardOutput(io.FileIO):
    """Descriptor 1, with errors of writing that say so, whatever code writes."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            # What is still buffered goes to the null device: Python writes it again when it ends.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            if isinstance(error, BrokenPipeError):
                raise ReaderGone from error
            raise OutputLost(f"cannot write to standard output: {error.strerror}") from error


def _marked(line: str, marks: int, style: str, stream: TextIO) -> str:
    text = presentable(line)
    return styled(text[:marks], style, stream) + text[marks:]


def _write_text(text: str) -> None:
    _write(f"{text}\n".encode(sys.stdout.encoding, "backslashreplace"))


def _write(content: bytes) -> None:
    with above_bars():
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
