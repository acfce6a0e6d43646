"""Signals that the processes of a service do not get, because the service ends them itself."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

OF_TERMINALS = ("SIGINT", "SIGQUIT", "SIGHUP")
EVERY_STOP = (*OF_TERMINALS, "SIGTERM")
"""With the signal that supervisors send to all processes of a service."""


@contextmanager
def blocked_in_children(names: Sequence[str]) -> Iterator[None]:
    """A process started inside never gets these signals."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.Signals[name] for name in names})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
