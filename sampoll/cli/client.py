"""`sampoll send` and `sampoll recv`: the other side of `sampoll serve`."""

import os
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any

import typer

from sampoll.cli.commands import Commands
from sampoll.cli.logs import set_up_logging, show_summary, shows_progress
from sampoll.cli.options import ConfigOption, directory_of, path_of, time_in, with_settings
from sampoll.config.resolve import resolve
from sampoll.core.errors import UsageError

app = Commands()

IN_FLIGHT = 16
QUEUED = 256
"""Jobs in a stream before more are put in."""


@app.command()
@with_settings("redis", "stream", "result-ttl", "http-token-file", "operations")
def send(
    flags: dict[str, Any],
    paths: Annotated[
        list[str], typer.Argument(help="Images, folders, or patterns in quotes.", metavar="PATH")
    ],
    prompt: Annotated[
        Path | None,
        typer.Option(
            help="One prompt for all images, instead of those beside them.", metavar="FILE", parser=path_of
        ),
    ] = None,
    without_prompt: Annotated[
        bool,
        typer.Option(
            "--without-prompt", help="Send images without one too: the service has a --default-prompt."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write masks and OPEX here; waits.", metavar="DIR", parser=directory_of
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the replies.")] = False,
    in_flight: Annotated[
        int | None,
        typer.Option(
            min=1, help="Largest number of requests at a time: 16, or 256 in a stream.", metavar="N"
        ),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option("--http", help="Send to `sampoll serve http` there, not to Redis.", metavar="URL"),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Stream, HTTP: send again what was sent or done before.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            help="Stop waiting for a reply after this long.",
            metavar="SECONDS",
            parser=time_in(),
            show_default="10m",
        ),
    ] = 600.0,
    config: ConfigOption = None,
) -> None:
    """Send pairs to a service on Redis, or to one at --http, and collect the results; or put them into a
    --stream."""
    resolved = resolve(flags, os.environ, config)
    show_progress = shows_progress(resolved.settings.operations)
    set_up_logging(resolved, show_progress=show_progress)

    from sampoll.app.client.enqueue import EnqueueOptions, queue
    from sampoll.app.client.send import SendOptions, send_pairs
    from sampoll.inputs.discovery import pairs_of
    from sampoll.transports.redis.server import server_of
    from sampoll.transports.redis.streams.client import StreamClient

    pairs = pairs_of(paths, prompt, needs_prompt=not without_prompt)
    if http is not None:
        if "stream" in resolved.origins:
            raise UsageError("--http and --stream are two ways to send: leave one of them out")
        from sampoll.app.client.send_http import HttpOptions, send_over_http, url_of
        from sampoll.config.secret_file import secret_of

        web = resolved.settings.web
        token = secret_of("http-token", web.http_token, web.http_token_file)
        options = HttpOptions(url_of(http), token, output, in_flight or IN_FLIGHT, timeout, again)
        exit_code, summary = send_over_http(pairs, options, show_progress=show_progress)
    elif "stream" not in resolved.origins:
        is_awaited = wait or output is not None
        sending = SendOptions(resolved.settings.redis, is_awaited, output, in_flight or IN_FLIGHT, timeout)
        exit_code, summary = send_pairs(pairs, sending, show_progress=show_progress)
    elif wait or output is not None:
        raise UsageError("results of a stream are collected by `sampoll recv --stream`: leave --output out")
    else:
        settings = resolved.settings
        with closing(StreamClient(server_of(settings.redis), settings.streams)) as jobs:
            queueing = EnqueueOptions(in_flight or QUEUED, again)
            exit_code, summary = queue(jobs, pairs, queueing, show_progress=show_progress)
    show_summary(summary, exit_code)
    raise typer.Exit(exit_code)


@app.command()
@with_settings("redis", "stream", "operations")
def recv(
    flags: dict[str, Any],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Write masks and OPEX here.", metavar="DIR", parser=directory_of),
    ],
    count: Annotated[
        int | None, typer.Option(min=1, help="End after this many replies.", metavar="N")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(help="End when no reply has come for this long.", metavar="SECONDS", parser=time_in()),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write the replies that come on --redis-out, or the results of a --stream, into files."""
    resolved = resolve(flags, os.environ, config)
    set_up_logging(resolved, show_progress=False)

    from sampoll.app.client.receive import receive
    from sampoll.transports.redis.pubsub.inbox import listening
    from sampoll.transports.redis.pubsub.subscription import literal
    from sampoll.transports.redis.server import server_of
    from sampoll.transports.redis.streams.client import StreamClient, StreamInbox

    settings = resolved.settings.redis
    with ExitStack() as stack:
        if "stream" in resolved.origins:
            jobs = StreamClient(server_of(settings), resolved.settings.streams)
            stack.callback(jobs.close)
            exit_code, summary = receive(StreamInbox(jobs), output, count=count, timeout_seconds=timeout)
        else:
            inbox = stack.enter_context(listening(server_of(settings), literal(settings.redis_out)))
            exit_code, summary = receive(inbox, output, count=count, timeout_seconds=timeout)
    show_summary(summary, exit_code)
    raise typer.Exit(exit_code)
