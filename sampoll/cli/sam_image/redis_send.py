"""sam_test_redis_send: publishes one image and its prompt for sam_predict_redis."""

from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from pathlib import Path
from typing import NoReturn

import orjson

from sampoll.cli.exit import run_and_exit
from sampoll.cli.output import tell
from sampoll.cli.sam_image.parser import Parser
from sampoll.cli.sam_image.servers import ADVICE, add_server_flags, server_of
from sampoll.core.errors import InputUnavailable, UsageError
from sampoll.transports.redis.connection import translated
from sampoll.transports.redis.messages import request_message


def main() -> NoReturn:
    run_and_exit(lambda: send(parser().parse_args()), "sam_test_redis_send", has_look=False)


def parser() -> ArgumentParser:
    made = Parser(
        description="SAM - Prediction test/send (Redis)",
        prog="sam_test_redis_send",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    add_server_flags(made, channel="Channel to publish on.")
    made.add_argument("-I", "--image", metavar="FILE", required=True, help="The JPG to send.")
    made.add_argument("-P", "--prompt", metavar="FILE", required=True, help="The JSON file with the prompt.")
    return made


def send(arguments: Namespace) -> int:
    """Publishes the request; the exit code."""
    image = _read(arguments.image)
    try:
        message = request_message(image, orjson.loads(_read(arguments.prompt)))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise UsageError(f"--prompt {arguments.prompt} is not JSON in UTF-8: {error}") from error
    with ADVICE.in_errors():
        server = server_of(arguments)
        with translated(server), server.client() as client:
            receivers = client.publish(arguments.channel, message)
    if receivers == 0:
        tell(f"no service is subscribed to {arguments.channel}: the request was lost")
    return 0


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputUnavailable(f"{path} cannot be read: {error.strerror or error}") from error
