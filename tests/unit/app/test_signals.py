"""Signals, in any thread and at any time."""

import signal
import threading
import time

import pytest

from sampoll.app.signals import outside_the_main_thread, stopping_on_signals


def test_a_signal_that_another_thread_gets_is_handled_too() -> None:
    """It does not interrupt the wait of the main thread, which alone can handle it; nor does one that comes
    just before that wait."""
    asked = threading.Event()

    def work() -> None:
        time.sleep(0.3)  # until the main thread waits
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        assert asked.wait(10), "the signal was not handled while the work went on"

    with stopping_on_signals(asked.set):
        outside_the_main_thread(work)


def test_an_exception_of_the_work_is_raised_again() -> None:
    def work() -> None:
        raise ArithmeticError("from the other thread")

    with pytest.raises(ArithmeticError, match="from the other thread"):
        outside_the_main_thread(work)
