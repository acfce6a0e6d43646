"""`sampoll serve`: prompts answered over a network."""

from typing import Annotated, Any

import typer

from sampoll.cli.commands import Commands
from sampoll.cli.logs import set_up_logging, show_summary
from sampoll.cli.options import ConfigOption, PrintConfigOption, resolve_or_print, with_settings
from sampoll.config.fields import section_title

OF_EACH = ("default-prompt", "model", "masks", "limits", "prompts", "monitoring", "operations")
"""The settings of each of these commands."""

app = Commands(name="serve", help="Answer prompts over a network.", no_args_is_help=True)


@app.callback()
def _serve() -> None:
    pass


@app.command()
@with_settings(
    "redis",
    "requests",
    "processes",
    *OF_EACH,
)
def redis(
    flags: dict[str, Any],
    embedded: Annotated[
        bool,
        typer.Option(
            "--embedded",
            help="Start a Valkey of its own, on loopback.",
            rich_help_panel=section_title("redis"),
        ),
    ] = False,
    config: ConfigOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """Answer requests that clients publish on a channel of Redis or Valkey, until a signal arrives.

    Examples:

        sampoll serve redis --model vit_b
        sampoll serve redis --embedded --model grabcut  with a server of its own
    """
    resolved = resolve_or_print(flags, config, print_config=print_config)
    set_up_logging(resolved, show_progress=False)

    from sampoll.app.serve import serve_redis
    from sampoll.monitoring.console import log_jobs

    show_summary(serve_redis(resolved.settings, [log_jobs], embedded=embedded))


@app.command()
@with_settings(
    "web",
    "label_studio",
    "queue-bytes",
    "input",
    "output",
    "processes",
    *OF_EACH,
)
def http(
    flags: dict[str, Any],
    config: ConfigOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """Answer requests over HTTP, beside health, metrics and the status page, until a signal arrives.

    Examples:

        sampoll serve http --model vit_b
        sampoll serve http --model vit_b --bind 0.0.0.0:8000 --http-token-file token
        sampoll serve http --model vit_b -i in -o out  with jobs for the runs on these directories
    """
    resolved = resolve_or_print(flags, config, print_config=print_config)
    set_up_logging(resolved, show_progress=False)

    from sampoll.monitoring.console import log_jobs

    if resolved.settings.processes.is_divided:
        from sampoll.app.workers.http import serve_http_in_workers

        show_summary(serve_http_in_workers(resolved.settings, [log_jobs]))
        return

    from sampoll.app.serve_http import serve_http

    show_summary(serve_http(resolved.settings, [log_jobs]))


@app.command()
@with_settings(
    "redis",
    "streams",
    "lease",
    "max-attempts",
    "processes",
    *OF_EACH,
)
def stream(
    flags: dict[str, Any],
    config: ConfigOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """Work on the jobs of a Redis stream, beside any number of other workers, until a signal arrives.

    Examples:

        sampoll serve stream --redis-host queue --model vit_b
        sampoll send photographs --stream sam --redis-host queue
    """
    resolved = resolve_or_print(flags, config, print_config=print_config)
    set_up_logging(resolved, show_progress=False)

    from sampoll.monitoring.console import log_jobs

    if resolved.settings.processes.is_divided:
        from sampoll.app.workers.serve import serve_stream_in_workers

        show_summary(serve_stream_in_workers(resolved.settings, [log_jobs]))
        return

    from sampoll.app.serve import serve_stream

    show_summary(serve_stream(resolved.settings, [log_jobs]))
