"""Every signal that would end the process requests an orderly stop instead; a second SIGINT, SIGTERM or
SIGQUIT ends the process at once."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from types import FrameType

from sampoll.core.stopping import STOP_POLL_SECONDS

STOPPING = "stopping: the running batch is finished first; a second signal stops at once"
"""What a service logs at the first signal."""
ONE_REQUEST_SECONDS = 0.1
"""Signals within this time count as one: `timeout` and terminals signal a process and its group."""

_BY_PEOPLE = frozenset({signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGQUIT", signal.SIGTERM)})
"""A second one of these ends the process at once. The others may be repeated without such an intention:
shells send SIGHUP again, and the kernel sends SIGXCPU every second."""
_ALWAYS_HANDLED = frozenset({signal.SIGINT, signal.SIGTERM})
"""Handled even if they are ignored, as SIGINT is in the background jobs of a shell script."""
_LEFT_ALONE = frozenset(
    getattr(signal, name)
    for name in (
        # They cannot be handled, or stop and continue a process, or change nothing by default.
        *("SIGKILL", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGCONT"),
        *("SIGCHLD", "SIGURG", "SIGWINCH", "SIGINFO"),
        # A fault of the process itself: it is a crash.
        *("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGTRAP", "SIGSYS", "SIGEMT"),
    )
    if hasattr(signal, name)
)


@contextmanager
def stopping_on_signals(
    on_first: Callable[[], None], on_second: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Calls `on_first` at the first signal that would end the process, such as SIGTERM, or SIGHUP when a
    terminal is closed. At a second SIGINT, SIGTERM or SIGQUIT, calls `on_second`, and the process ends with
    128 + its number. Signals that are ignored, as SIGHUP is by nohup, stay ignored."""
    asked_at: float | None = None

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal asked_at
        if asked_at is None:
            asked_at = time.monotonic()
            on_first()
        elif number in _BY_PEOPLE and time.monotonic() - asked_at > ONE_REQUEST_SECONDS:
            on_second()
            # No clean-up on purpose: the spool is safe at any point, and the user wants it to end now.
            os._exit(128 + number)

    before = {number: signal.signal(number, handle) for number in sorted(_ending_signals())}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ending_signals() -> set[int]:
    """The signals that would end the process as it is now."""
    return {
        number
        for number in signal.valid_signals() - _LEFT_ALONE
        if number in _ALWAYS_HANDLED or signal.getsignal(number) is signal.SIG_DFL
    }


def outside_the_main_thread(work: Callable[[], None]) -> None:
    """Runs `work` in another thread and waits for it; raises what it raised.

    Python handles signals in the main thread, between two bytecode instructions: while the main thread ran a
    model for seconds, no signal would be handled.
    """
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  raised again below
            raised.append(error)

    thread = Thread(target=guarded, name="service")
    thread.start()
    # With a timeout, because a signal just before the wait, or in another thread, does not interrupt it.
    while thread.is_alive():
        thread.join(STOP_POLL_SECONDS)
    if raised:
        raise raised[0]
