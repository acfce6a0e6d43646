"""A worker of a command that several processes do: it has its orders from its parent, and tells it all."""

import faulthandler
import logging
import os
import signal
import sys
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import NoReturn

from sampoll.app.workers.messages import LogSender, Order, Request, Sender
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
    stall_seconds = order.settings.monitoring.stall_seconds
    inbox: SimpleQueue[Request] = SimpleQueue()
    Thread(target=_listen, args=(connection, inbox, stall_seconds), name="parent", daemon=True).start()
    try:
        from sampoll.app.workers.work import work  # which takes its time: the cores are set before

        sys.exit(work(order, send, inbox))
    except SampollError as error:
        send(error)
        sys.exit(error.exit_code)
    except Exception:  # the top of the process
        message = "this is a bug in sampoll; nothing is lost. Please report it with all that was logged"
        logging.getLogger(__name__).critical(message, exc_info=True)
        sys.exit(SampollError.exit_code)


def _listen(connection: "Connection", inbox: "SimpleQueue[Request]", stall_seconds: float) -> None:
    """Takes what the parent sends until it has ended, even by SIGKILL; then stops this process: in order, or,
    if it is stopping already, at once, as a second signal does. One that hangs ends after `stall_seconds`."""
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        # A thread without Python, which a model that keeps the interpreter lock cannot stop.
        faulthandler.dump_traceback_later(stall_seconds, exit=True)
        os.kill(os.getpid(), signal.SIGTERM)
