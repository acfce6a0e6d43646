"""`sampoll send` and `sampoll recv`: the other side of `sampoll serve`."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sampoll.logs import set_up_logging
from sampoll.options import ConfigOption, with_settings
from sampoll.resolution import resolve

app = typer.Typer()


@app.command()
@with_settings("redis", "operations")
def send(
    flags: dict[str, Any],
    paths: Annotated[
        list[str], typer.Argument(help="Images, folders, or patterns in quotes.", metavar="PATH...")
    ],
    prompt: Annotated[
        Path | None,
        typer.Option(help="One prompt for all images, instead of those beside them.", metavar="FILE"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write masks and OPEX here; waits.", metavar="DIR")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the replies.")] = False,
    in_flight: Annotated[
        int, typer.Option(min=1, help="Requests without a reply at a time, at most.", metavar="N")
    ] = 16,
    timeout: Annotated[
        float, typer.Option(min=0, help="Give up on a reply after so long.", metavar="SECONDS")
    ] = 600.0,
    config: ConfigOption = None,
) -> None:
    """Send pairs to a service on Redis, and collect the results."""
    resolved = resolve(flags, os.environ, config)
    show_progress = sys.stderr.isatty()
    set_up_logging(resolved, show_progress=show_progress)

    from sampoll.pairing import pairs_of
    from sampoll.redis_settings import server_of
    from sampoll.sending import Sending
    from sampoll.sending import send as send_pairs

    settings = resolved.settings.redis
    sending = Sending(
        settings.redis_in, settings.redis_out, wait or output is not None, output, in_flight, timeout
    )
    exit_code, summary = send_pairs(
        server_of(settings), pairs_of(paths, prompt), sending, show_progress=show_progress
    )
    typer.echo(summary)
    raise typer.Exit(exit_code)


@app.command()
@with_settings("redis", "operations")
def recv(
    flags: dict[str, Any],
    output: Annotated[Path, typer.Option("--output", "-o", help="Write masks and OPEX here.", metavar="DIR")],
    count: Annotated[int | None, typer.Option(min=1, help="End after so many replies.", metavar="N")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="End when nothing has come for so long.", metavar="SECONDS")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write the replies that come on --redis-out into files, until a signal comes."""
    resolved = resolve(flags, os.environ, config)
    set_up_logging(resolved, show_progress=False)

    from sampoll.receiving import receive
    from sampoll.redis_settings import server_of
    from sampoll.transports.pubsub.subscription import literal

    settings = resolved.settings.redis
    exit_code, summary = receive(
        server_of(settings), literal(settings.redis_out), output, count=count, timeout_seconds=timeout
    )
    typer.echo(summary)
    raise typer.Exit(exit_code)
