"""Turns between threads."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from sampoll.core import turns
from sampoll.core.turns import apart, turn


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadPoolExecutor]:
    """Another thread, and patience that does not end."""
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 60)
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_one_thread_at_a_time_has_its_turn(pool: ThreadPoolExecutor) -> None:
    order: list[str] = []
    begun = Event()

    def other() -> None:
        begun.set()
        with turn():
            order.append("other")

    with turn():
        waiting = pool.submit(other)
        assert begun.wait(60)
        with turn():  # a part of the same one
            order.append("this")
        assert not waiting.done()
    waiting.result(60)
    assert order == ["this", "other"]


def test_what_takes_long_is_done_while_others_have_their_turn(pool: ThreadPoolExecutor) -> None:
    def other() -> str:
        with turn():
            return "other"

    with turn():
        with apart():
            assert pool.submit(other).result(60) == "other"
        waiting = pool.submit(other)
        with apart(), apart():
            assert waiting.result(60) == "other"


def test_a_thread_whose_turn_does_not_come_goes_on_without_one(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other() -> str:
        with turn(), apart():
            return "other"

    with turn():
        monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.01)
        assert pool.submit(other).result(60) == "other"


def test_a_turn_ends_with_an_error_and_without_one_apart_changes_nothing(pool: ThreadPoolExecutor) -> None:
    def other() -> None:
        with turn():
            pass

    with pytest.raises(KeyError), turn(), apart():
        raise KeyError
    with apart():
        pool.submit(other).result(60)
    pool.submit(other).result(60)
