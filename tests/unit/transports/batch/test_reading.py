"""Files that are read ahead."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Barrier, Event

import pytest

from sampoll.core.errors import BadImage, StorageTrouble
from sampoll.core.jobs import Submission
from sampoll.transports.batch.reading import READ_AHEAD_BYTES, Read, ReadAhead
from sampoll.transports.batch.work import Work
from sampoll.transports.memory import submission

DEADLINE_SECONDS = 30


def work(name: str, size: int | None = 10) -> Work:
    return Work(name, f"{name}.jpg", f"{name}.json", size)


def submitted(work: Work) -> Submission:
    return submission(work.stem, b"image", b"{}")


@contextmanager
def reading(read: Read, threads: int = 4) -> Iterator[ReadAhead]:
    ahead = ReadAhead(read, threads)
    try:
        yield ahead
    finally:
        ahead.close()


def taken(ahead: ReadAhead, count: int) -> list[str]:
    names: list[str] = []
    while len(names) < count:
        names += [found.stem for found, _ in ahead.take(Event())]
    return names


def test_reads_overlap_and_come_in_order() -> None:
    together = Barrier(4)

    def read(work: Work) -> Submission:
        together.wait(DEADLINE_SECONDS)
        return submitted(work)

    with reading(read) as ahead:
        for name in "dcba":
            ahead.add(work(name))
        assert taken(ahead, 4) == ["d", "c", "b", "a"]


def test_what_is_read_later_waits_for_what_comes_before_it() -> None:
    go = Event()

    def read(work: Work) -> Submission:
        assert work.stem != "a" or go.wait(DEADLINE_SECONDS)
        return submitted(work)

    with reading(read, threads=2) as ahead:
        ahead.add(work("a"))
        ahead.add(work("b"))
        stopped = Event()
        stopped.set()
        assert ahead.take(stopped) == []
        go.set()
        assert taken(ahead, 2) == ["a", "b"]


def test_what_is_read_and_not_taken_is_bounded_in_bytes_and_number() -> None:
    with reading(submitted, threads=2) as ahead:
        ahead.add(work("large", 10 * READ_AHEAD_BYTES))
        assert not ahead.has_room
        taken(ahead, 1)
        for number in range(8):
            assert ahead.has_room
            ahead.add(work(f"unknown{number}", None))
        assert not ahead.has_room


def test_an_error_of_one_file_is_its_own_and_one_of_the_store_is_raised() -> None:
    def read(work: Work) -> Submission:
        raise BadImage("is bad") if work.stem == "a" else StorageTrouble("is out")

    with reading(read) as ahead:
        ahead.add(work("a"))
        [(found, error)] = ahead.take(Event())
        assert (found.stem, str(error)) == ("a", "is bad")
        ahead.add(work("b"))
        with pytest.raises(StorageTrouble, match="is out"):
            ahead.take(Event())
