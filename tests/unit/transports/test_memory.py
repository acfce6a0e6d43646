"""Jobs of the same process: what the contract of transports does not say."""

from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from threading import Event, Thread

import pytest

from sampoll.core.errors import BadPrompt, ModelUnavailable, OutOfMemory, Overloaded, Stopped
from sampoll.core.jobs import Submission
from sampoll.core.results import Artifact, Delivery
from sampoll.formats.png import PngMask
from sampoll.transports.memory import MemoryTransport, submission


def job(name: str, size: int = 10) -> Submission:
    return submission(name, b"i" * size, b"{}")


def names(groups: Iterator[Sequence[Submission]]) -> list[list[str]]:
    return [[each.name for each in group] for group in groups]


def begun(transport: MemoryTransport) -> Submission:
    """The next one, begun."""
    [first] = next(iter(transport.submissions(Event())))
    transport.begin([first])
    return first


def test_a_future_gets_what_is_delivered_for_its_submission_or_its_error() -> None:
    transport = MemoryTransport()
    good, bad = transport.submit(job("good")), transport.submit(job("bad"))

    delivery = Delivery(begun(transport), (Artifact(".png", b"mask"),))
    transport.deliver([delivery])
    error = BadPrompt("is bad")
    transport.reject(begun(transport), error)

    assert good.result(0) is delivery
    assert bad.exception(0) is error


def test_submissions_come_in_groups_of_those_that_wait() -> None:
    transport = MemoryTransport(group_size=2)
    for name in "abc":
        transport.submit(job(name))
    groups = transport.submissions(Event())

    assert names(iter([next(groups), next(groups)])) == [["a", "b"], ["c"]]


def test_what_is_cancelled_before_it_is_begun_is_never_handed_out_and_makes_room() -> None:
    transport = MemoryTransport(max_waiting=2)
    first, second = transport.submit(job("a")), transport.submit(job("b"))

    assert first.cancel()
    transport.submit(job("c"), waits=False)

    assert [begun(transport).name, begun(transport).name] == ["b", "c"]
    assert not second.cancel()
    with pytest.raises(CancelledError):
        first.result(0)


@pytest.mark.parametrize(("max_waiting", "max_bytes"), [(2, 1000), (100, 25)])
def test_a_full_queue_refuses_or_waits_for_room(max_waiting: int, max_bytes: int) -> None:
    transport = MemoryTransport(max_waiting=max_waiting, max_bytes=max_bytes)
    transport.submit(job("a"))
    transport.submit(job("b"))

    with pytest.raises(Overloaded, match="2 requests of 24 bytes are waiting already"):
        transport.submit(job("c"), waits=False)
    waiting = Thread(target=transport.submit, args=(job("c"),))
    waiting.start()
    begun(transport)
    waiting.join(30)

    assert not waiting.is_alive()
    assert transport.waiting_count == 2


def test_one_submission_of_any_size_is_taken() -> None:
    transport = MemoryTransport(max_bytes=5)

    transport.submit(job("large", 1000), waits=False)

    assert begun(transport).name == "large"


def test_a_stop_lets_what_was_begun_end_and_fails_the_rest() -> None:
    transport = MemoryTransport()
    first, second = transport.submit(job("a")), transport.submit(job("b"))
    done = begun(transport)

    transport.stop()
    transport.deliver([Delivery(done, ())])

    assert first.result(0).submission is done
    with pytest.raises(Stopped, match="was stopped before"):
        second.result(0)
    with pytest.raises(Stopped, match="is closed, and takes nothing more"):
        transport.submit(job("c"))
    assert names(transport.submissions(Event())) == []


def test_what_ends_the_service_is_raised_to_all_who_wait_and_to_those_who_come() -> None:
    transport, error = MemoryTransport(max_waiting=1), ModelUnavailable("the device has gone")
    open_one = transport.submit(job("a"))
    begun(transport)
    waiting = transport.submit(job("b"))
    raised: list[BaseException] = []

    def submit() -> None:
        try:
            transport.submit(job("c"))
        except ModelUnavailable as trouble:
            raised.append(trouble)

    thread = Thread(target=submit)
    thread.start()
    transport.close(error)
    thread.join(30)

    assert [open_one.exception(0), waiting.exception(0), *raised] == [error] * 3


def test_close_does_not_touch_what_was_cancelled() -> None:
    transport = MemoryTransport()
    future = transport.submit(job("a"))
    future.cancel()

    transport.close()

    assert future.cancelled()


def test_a_submission_that_is_tried_again_keeps_its_future() -> None:
    transport = MemoryTransport(max_attempts=2)
    future = transport.submit(job("a"))

    transport.reject(begun(transport), OutOfMemory("too large"))
    assert not future.done()
    transport.reject(begun(transport), OutOfMemory("too large"))

    assert isinstance(future.exception(0), OutOfMemory)


def test_two_submissions_of_one_id_are_refused() -> None:
    transport, one = MemoryTransport(), job("a")
    transport.submit(one)

    with pytest.raises(ValueError, match="two submissions have the id"):
        transport.submit(one)


def test_each_submission_has_the_formats_that_it_was_submitted_with() -> None:
    transport, formats = MemoryTransport(), [PngMask()]
    transport.submit(job("a"), formats)
    transport.submit(job("b"))

    assert [transport.formats_of(begun(transport)) for _ in "ab"] == [formats, ()]
