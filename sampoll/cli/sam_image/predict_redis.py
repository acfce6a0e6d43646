"""sam_predict_redis: masks for the images and prompts that clients publish on a channel of Redis."""

import os
import time
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any, NoReturn

from sampoll.app.serve import StandIn, serve_redis
from sampoll.cli.exit import run_and_exit
from sampoll.cli.logs import set_up_logging
from sampoll.cli.output import tell
from sampoll.cli.sam_image.advice import Advice
from sampoll.cli.sam_image.models import (
    DEFAULTS,
    MODEL_FLAGS,
    add_model_flags,
    check_model,
    loading_message,
    model_settings,
    segmenter_meta,
)
from sampoll.cli.sam_image.output import say, say_now
from sampoll.cli.sam_image.parser import Parser
from sampoll.config.resolve import resolve
from sampoll.core.events import Event, JobDone, JobFailed, JobStarted

ADVICE = Advice(
    {
        **MODEL_FLAGS,
        "redis-host": "--redis_host",
        "redis-port": "--redis_port",
        "redis-db": "--redis_db",
        "redis-in": "--redis_in",
        "redis-out": "--redis_out",
        "redis-password": "--redis_password",
        "redis-url": "--redis-url of `sampoll serve redis`",
    }
)


def main() -> NoReturn:
    run_and_exit(lambda: predict(parser().parse_args(), os.environ), "sam_predict_redis", has_look=False)


def parser() -> ArgumentParser:
    made = Parser(
        description="SAM - Prediction (Redis)",
        prog="sam_predict_redis",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--redis_host", metavar="HOST", default="localhost", help="Host of the server.")
    made.add_argument("--redis_port", metavar="PORT", default=6379, type=int, help="Port of the server.")
    made.add_argument("--redis_password", metavar="PASSWORD", help="Password for the server.")
    made.add_argument(
        "--redis_password_env", metavar="PASSWORD", help="Environment variable that holds the password."
    )
    made.add_argument("--redis_db", metavar="DB", default=0, type=int, help="Database of the server.")
    made.add_argument(
        "--redis_in", metavar="CHANNEL", required=True, help="Channel, or pattern, for requests."
    )
    made.add_argument("--redis_out", metavar="CHANNEL", required=True, help="Channel for replies.")
    made.add_argument(
        "--redis_timeout",
        metavar="NUM",
        default=0.01,
        type=float,
        help="Without effect: messages are awaited.",
    )
    add_model_flags(made)
    made.add_argument("--verbose", action="store_true", help="Say more.")
    return made


def predict(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """Serves until a signal comes; the exit code."""
    check_model(arguments)
    with ADVICE.in_errors():
        resolved = resolve(_settings(arguments, environment), environment, defaults=DEFAULTS)
        set_up_logging(resolved, show_progress=False, has_look=False)
        if arguments.verbose:
            say(loading_message(arguments))
        stand_in = StandIn(segmenter_meta(arguments), ADVICE)
        with ADVICE.in_logs():
            summary = serve_redis(resolved.settings, [Messages(arguments)], stand_in=stand_in)
    if arguments.verbose:
        tell(str(summary))
    return 0


def _settings(arguments: Namespace, environment: Mapping[str, str]) -> dict[str, Any]:
    password = arguments.redis_password
    if password is None and arguments.redis_password_env is not None:
        password = environment.get(arguments.redis_password_env)
    return {
        **model_settings(arguments),
        "redis-url": None,  # the flags override the URL in the environment
        "redis-host": arguments.redis_host,
        "redis-port": arguments.redis_port,
        "redis-db": arguments.redis_db,
        "redis-in": arguments.redis_in,
        "redis-out": arguments.redis_out,
        **({} if password is None else {"redis-password": password}),
    }


class Messages:
    """The messages of the original command on standard output: failures, and with --verbose all of them."""

    def __init__(self, arguments: Namespace) -> None:
        self._arguments = arguments
        self._begun: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case JobStarted(submission):
                self._begun[submission.id] = time.monotonic()
                self._info("start processing image")
            case JobDone(job_id=job_id):
                self._info(f"predictions string published: {self._arguments.redis_out}")
                started = self._begun.pop(job_id, time.monotonic())
                self._info(f"finished processing image: {int(1000 * (time.monotonic() - started))} ms")
            case JobFailed(_, job_id, error):
                self._begun.pop(job_id, None)
                say_now(f"process_images - failed to process: {error}")

    def _info(self, message: str) -> None:
        if self._arguments.verbose:
            say_now(f"process_images - {message}")
