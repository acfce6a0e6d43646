"""What a command keeps until its process ends, when the system frees all memory at once: to free a compiled
model one part after the other takes a tenth of a run with one image."""

from threading import Event
from typing import TypeVar

Kept = TypeVar("Kept")

_keeps = Event()
_kept: list[object] = []


def keep_until_the_end() -> None:
    """From now on, this process keeps what is `kept`: only for one that ends without freeing its memory."""
    _keeps.set()


def kept(thing: Kept) -> Kept:
    """`thing`, which lives as long as the process if that keeps such things."""
    if _keeps.is_set():
        _kept.append(thing)
    return thing
