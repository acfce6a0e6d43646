"""Turns between the threads that make many short system calls.

At each such call, a thread lets go of the interpreter lock, another one takes it, and the first has to be
woken again: on several cores, two such threads need more time than one of them would for the work of both. In
turns, each goes on undisturbed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, local

PATIENCE_SECONDS = 0.05
"""How long a thread waits for its turn. Then it goes on without one: where calls take long, as on a network
filesystem, threads that wait for the system do not hold up each other."""

_lock = Lock()


class _Own(local):
    """What this thread has."""

    has_turn = False


_own = _Own()


@contextmanager
def turn() -> Iterator[None]:
    """The turn of this thread, until the block ends; part of it, if it has one already."""
    if _own.has_turn:
        yield
        return
    _begin()
    try:
        yield
    finally:
        _end()


@contextmanager
def apart() -> Iterator[None]:
    """Lets others have their turns during what takes long, such as a write to the disk."""
    had_turn = _own.has_turn
    _end()
    try:
        yield
    finally:
        if had_turn:
            _begin()


def _begin() -> None:
    _own.has_turn = _lock.acquire(timeout=PATIENCE_SECONDS)


def _end() -> None:
    if _own.has_turn:
        _own.has_turn = False
        _lock.release()
