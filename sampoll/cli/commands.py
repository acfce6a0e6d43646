"""Commands whose --help shows everyday settings, and whose --help-all shows all."""

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

Function = TypeVar("Function", bound=Callable[..., Any])

GENERAL = "Settings and help"
"""The title of the options that many commands share, which the help shows last."""
_SHOWS_ALL = "sampoll.help_all"


class Command(TyperCommand):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        _print_help(self, ctx)


class Group(TyperGroup):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        _print_help(self, ctx)


class Commands(typer.Typer):
    """Commands that have this help, below one name or at the top."""

    def __init__(self, *, cls: type[Group] = Group, **options: Any) -> None:
        super().__init__(cls=cls, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        return super().command(name, cls=Command, **options)


def show_all(ctx: typer.Context, wanted: bool) -> None:
    """The callback of --help-all."""
    if wanted:
        ctx.meta[_SHOWS_ALL] = True
        typer.echo(ctx.get_help())
        raise typer.Exit


def _print_help(command: Any, ctx: Any) -> None:
    from sampoll.cli.help import print_help  # rich takes a while to be imported

    rare = () if ctx.meta.get(_SHOWS_ALL) else getattr(command.callback, "rare", ())
    print_help(command, ctx, rare=frozenset(rare), last=GENERAL)
