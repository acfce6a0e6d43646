"""Signals, in any thread and at any time."""

import signal
import threading
import time

import pytest

from sampoll.app.signals import ONE_REQUEST_SECONDS, outside_the_main_thread, stopping_on_signals


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


@pytest.mark.parametrize(
    "name",
    [
        "SIGHUP",
        "SIGINT",
        "SIGTERM",
        "SIGQUIT",
        "SIGUSR1",
        "SIGUSR2",
        "SIGVTALRM",
        "SIGXCPU",
        "SIGPWR",
        "SIGRTMAX",
    ],
)
def test_every_signal_that_would_end_the_process_asks_for_a_stop(name: str) -> None:
    asked = threading.Event()

    with stopping_on_signals(asked.set):
        signal.raise_signal(getattr(signal, name))

        assert asked.wait(10)


def test_a_repeated_sighup_is_no_second_request() -> None:
    asked: list[float] = []

    with stopping_on_signals(lambda: asked.append(time.monotonic())):
        signal.raise_signal(signal.SIGHUP)
        time.sleep(2 * ONE_REQUEST_SECONDS)
        signal.raise_signal(signal.SIGHUP)

    assert len(asked) == 1


def test_an_ignored_sighup_stays_ignored_as_nohup_wants() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_on_signals(lambda: pytest.fail("it was handled")):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_have_their_former_handlers_afterwards() -> None:
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}

    with stopping_on_signals(lambda: None):
        pass

    assert handlers == {number: signal.getsignal(number) for number in signal.valid_signals()}
