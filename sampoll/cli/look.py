"""How messages and tables look on a terminal: rich renders them, and is imported only where it is needed.

Texts must be presentable before they come here. None of them is read as markup of rich.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TextIO

STYLES = {
    "debug": "dim",
    "info": "green",
    "ok": "green",
    "warning": "yellow",
    "error": "bold red",
    "critical": "bold red",
    "aside": "dim",
    "header": "bold",
}
"""The styles by what they are used for; levels of log lines and of findings are among them."""


def has_colour(stream: TextIO) -> bool:
    """Whether text in `stream` may be coloured: https://no-color.org, https://force-color.org, and terminals
    whose TERM says that they have none."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb", "unknown")


def styled(text: str, style: str, stream: TextIO) -> str:
    """`text` in one of STYLES, if `stream` has colour."""
    if not text or not has_colour(stream):
        return text
    from rich.style import Style

    return Style.parse(STYLES[style]).render(text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], stream: TextIO) -> str:
    """A table as wide as the terminal that `stream` is; longer cells go on in their next line."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, padding=(0, 2, 0, 0), header_style=STYLES["header"])
    for title in header:
        made.add_column(Text(title), overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    rendered = StringIO()
    console = Console(
        file=rendered,
        force_terminal=has_colour(stream),
        no_color=not has_colour(stream),
        width=shutil.get_terminal_size().columns,
        legacy_windows=False,
    )
    console.print(made)
    return rendered.getvalue()
