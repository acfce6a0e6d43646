"""sam_test_redis_recv: writes the replies of sam_predict_redis into a directory."""

from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import NoReturn

from sampoll.app.client.reply_record import mask_of
from sampoll.app.signals import outside_the_main_thread, stopping_on_signals
from sampoll.cli.exit import run_and_exit
from sampoll.cli.output import tell
from sampoll.cli.sam_image.output import say
from sampoll.cli.sam_image.parser import Parser
from sampoll.cli.sam_image.servers import ADVICE, add_server_flags, server_of
from sampoll.core.errors import OutputUnavailable, translated_os_errors
from sampoll.files.atomic import replace_file
from sampoll.transports.redis.pubsub.inbox import Inbox, listening
from sampoll.transports.redis.replies import NoReply, parse_reply


def main() -> NoReturn:
    run_and_exit(lambda: receive(parser().parse_args(), Event()), "sam_test_redis_recv", has_look=False)


def parser() -> ArgumentParser:
    made = Parser(
        description="SAM - Prediction test/receive (Redis)",
        prog="sam_test_redis_recv",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    add_server_flags(made, channel="Channel, or pattern, to listen to.")
    made.add_argument("-o", "--output_dir", metavar="DIR", required=True, help="Where replies are written.")
    made.add_argument(
        "-f",
        "--file_prefix",
        metavar="FORMAT",
        default="%Y%m%d_%H%M%S.%f",
        help="Names of the files without extension, in the format of strftime.",
    )
    return made


def receive(arguments: Namespace, stop: Event) -> int:
    """Writes replies until a signal comes; the exit code."""
    directory = Path(arguments.output_dir)
    if not directory.is_dir():
        raise OutputUnavailable(f"--output_dir {directory} is no directory: create it")

    with (
        ADVICE.in_errors(),
        stopping_on_signals(stop.set),
        listening(server_of(arguments), arguments.channel) as inbox,
    ):
        outside_the_main_thread(partial(_write_all, inbox, directory, arguments.file_prefix, stop))
    return 0


def _write_all(inbox: Inbox, directory: Path, file_prefix: str, stop: Event) -> None:
    while not stop.is_set():
        if (message := inbox.next()) is not None:
            _write(message, directory, datetime.now().strftime(file_prefix))


def _write(message: bytes, directory: Path, prefix: str) -> None:
    say("", "Data received...")
    try:
        reply = parse_reply(message)
    except NoReply as error:
        tell(str(error))
        return
    mask, opex = directory / f"{prefix}.png", directory / f"{prefix}.json"
    with translated_os_errors("write into", directory):
        replace_file(mask, reply.mask)
        replace_file(opex, mask_of(reply).record(prefix))
    if reply.error is not None:
        tell(f"{prefix}: {reply.error}")
    say(str(mask), str(opex))
