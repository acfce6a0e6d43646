"""A worker of a command that several processes do: it has its orders from its parent, and tells it all."""

import logging
import os
import signal
import sys
from multiprocessing.connection import Connection
from threading import Thread
from typing import NoReturn

from sampoll.app.workers.messages import LogSender, Order, Sender
from sampoll.cli.output import open_standard_streams
from sampoll.core.errors import SampollError


def main() -> NoReturn:
    """Runs the order that comes over the socket whose descriptor is the first argument."""
    open_standard_streams()
    connection: Connection = Connection(int(sys.argv[1]))
    try:
        order: Order = connection.recv()
    except EOFError:
        sys.exit(0)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, order.cores)  # before libraries count the cores for their threads
    send = Sender(connection)
    logging.basicConfig(level=logging.INFO, handlers=[LogSender(send)])
    logging.getLogger("sampoll").setLevel(order.log_level)
    logging.captureWarnings(True)
    logging.getLogger("watchdog").setLevel("CRITICAL")
    Thread(target=_stop_with_the_parent, args=(connection,), name="parent", daemon=True).start()
    try:
        sys.exit(_run(order, send))
    except SampollError as error:
        send(error)
        sys.exit(error.exit_code)
    except Exception:  # the top of the process
        message = "this is a bug in sampoll; nothing is lost. Please report it with all that was logged"
        logging.getLogger(__name__).critical(message, exc_info=True)
        sys.exit(SampollError.exit_code)


def _run(order: Order, send: Sender) -> int:
    from dataclasses import replace

    from sampoll.app.directories import layout_of
    from sampoll.app.plan import plan_of
    from sampoll.app.run import run_plan

    plan = replace(plan_of(order.settings, layout_of(order.settings.spool)), datasets=())
    return run_plan(plan, [send], show_progress=False).exit_code


def _stop_with_the_parent(connection: "Connection") -> None:
    """Stops this process when the parent has ended, even by SIGKILL: in order, or, if it is stopping already,
    at once, as a second signal does."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)
