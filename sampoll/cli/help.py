"""The help of a command: usage, examples, and its options in groups."""

import inspect
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_OWN = "Options"
_NAMES_WIDTH = 30
"""Columns for an option with its values; longer ones take two lines."""
_UNITS = {
    "SECONDS": "SECONDS can have a unit, as in 90s, 10m or 2h.",
    "BYTES": "BYTES can have a unit, as in 64M or 2G.",
}


def print_help(command: Any, ctx: Any, *, rare: frozenset[str], last: str) -> None:
    """Prints the help, without the options `rare`, and with the group called `last` at the end. It has
    colours if standard output is a terminal that has them."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(Text(command.get_usage(ctx), style="bold"))
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        _print_paragraph(console, paragraph)
    below = getattr(command, "commands", {})
    _print_group(console, "Commands", [(Text(name), _first_paragraph(below[name])) for name in below])
    shown = [p for p in command.get_params(ctx) if p.name not in rare and not getattr(p, "hidden", False)]
    for title, parameters in _groups(shown, last).items():
        _print_group(console, title, [_row(p, with_opposite=not rare) for p in parameters], _NAMES_WIDTH)
    units = [
        meaning for word, meaning in _UNITS.items() if any(word in str(p.metavar).split("|") for p in shown)
    ]
    if units:
        _print_paragraph(console, " ".join(units))
    if rare:
        _print_paragraph(console, f"{ctx.command_path} --help-all shows {len(rare)} more options.")


def _print_paragraph(console: Console, text: str) -> None:
    """Prints an empty line and the text; or examples, which are indented lines."""
    if not text.startswith("    "):
        console.print()
        console.print(Text(" ".join(text.split())))
        return
    for line in text.splitlines():
        example, gap, meaning = line.strip().partition("  ")
        console.print(Text.assemble("  ", (example, "cyan"), gap, (meaning, "dim")), soft_wrap=True)


def _groups(parameters: list[Any], last: str) -> dict[str, list[Any]]:
    """Arguments and a command's own options first, those that many commands share last."""
    groups: dict[str, list[Any]] = {"Arguments": [], _OWN: []}
    shared: list[Any] = []
    for parameter in parameters:
        title = getattr(parameter, "rich_help_panel", None) or _OWN
        if parameter.param_type_name == "argument":
            groups["Arguments"].append(parameter)
        elif "--help" in parameter.opts or title == last:
            shared.append(parameter)
        else:
            groups.setdefault(title, []).append(parameter)
    return groups | {last: shared}


def _row(parameter: Any, *, with_opposite: bool) -> tuple[Text, str]:
    """An option with its values, and what it means."""
    meaning = (parameter.help or "") + (" (required)" if parameter.required else "")
    if parameter.param_type_name == "argument":
        return Text(parameter.metavar + ("..." if parameter.nargs < 0 else "")), parameter.help or ""
    short = next((name for name in parameter.opts if not name.startswith("--")), "")
    long = next((name for name in parameter.opts if name.startswith("--")), "")
    if with_opposite and parameter.secondary_opts:
        long = f"--[no-]{long.removeprefix('--')}"
    names = Text.assemble(f"{short}, " if short else "    ", (long, "cyan"))
    if not parameter.is_flag:
        fits = len(names) + 1 + len(parameter.metavar) <= _NAMES_WIDTH
        names.append(" " if fits else "\n    ").append(parameter.metavar, "yellow")
    return names, meaning


def _first_paragraph(command: Any) -> str:
    return " ".join(inspect.cleandoc(command.help or "").partition("\n\n")[0].split())


def _print_group(
    console: Console, title: str, rows: list[tuple[Text, str]], width: int | None = None
) -> None:
    """Prints an empty line, the title, and two columns, the first of `width` characters, or as needed."""
    if not rows:
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=width, no_wrap=True)
    table.add_column()
    for names, meaning in rows:
        table.add_row(names, Text(meaning))
    console.print()
    console.print(Text(title, style="bold"))
    console.print(Padding(table, (0, 0, 0, 2)))
