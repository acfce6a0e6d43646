"""The worker and the jobs of a stream, one step at a time, on a real server."""

import json
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from redis.exceptions import ConnectionError as LostConnection
from support.process import until
from support.redis_servers import Server

from sampoll.config.settings.streams import StreamsSettings
from sampoll.transports.redis.connection import RedisServer
from sampoll.transports.redis.streams.client import NewJob, StreamClient, StreamInbox
from sampoll.transports.redis.streams.worker import Worker

NEVER = Event()

STREAMS = StreamsSettings(stream="jobs", group="group")


def joined(server: Server, lease_seconds: float = 30, *, is_well: bool = True) -> Worker:
    worker = Worker(
        RedisServer(port=server.port),
        STREAMS,
        lease_seconds,
        is_well=lambda: is_well,
    )
    worker.join(NEVER)
    return worker


def read(worker: Worker, at_most: int = 10) -> list[str]:
    return [entry for entry, _ in worker.read(at_most, frozenset(), NEVER, may_wait=False)]


def test_only_one_of_two_deliveries_of_a_job_is_committed(server: Server, client: Any) -> None:
    client.xadd("jobs", {"id": "a"})
    first, second = joined(server, lease_seconds=0.2), joined(server, lease_seconds=0.2)
    [entry] = read(first)
    assert first.begin({entry: 1}) == [1]
    until(lambda: read(second) == [entry], "the second worker to take it")
    assert second.begin({entry: 2}) == [2]

    assert not first.commit(entry, "a", b"late")
    assert second.commit(entry, "a", b"good")
    assert not second.commit(entry, "a", b"again")

    assert [fields[b"reply"] for _, fields in client.xrange("jobs:results")] == [b"good"]
    assert first.begin({entry: 2}) == [0]
    assert client.hgetall("jobs:attempts") == {}
    first.close()
    second.close()


def test_an_attempt_is_counted_before_it_is_made_and_not_if_it_is_given_back(
    server: Server, client: Any
) -> None:
    client.xadd("jobs", {"id": "a"})
    client.xadd("jobs", {"id": "b"})
    worker, other = joined(server), joined(server)
    begun, untouched = read(worker)
    assert worker.attempts_of(begun) == 0
    worker.begin({begun: 1})
    assert worker.attempts_of(begun) == 1

    worker.close([begun], [untouched])

    assert read(other) == [begun, untouched]
    assert [other.attempts_of(entry) for entry in (begun, untouched)] == [0, 0]
    other.close()


class AnswersAreLost:
    """A script whose first answer is lost: the server has run it, and the connection is cut."""

    def __init__(self, script: Callable[..., Any]) -> None:
        self.script = script
        self.calls = 0

    def __call__(self, **arguments: Any) -> Any:
        answer = self.script(**arguments)
        self.calls += 1
        if self.calls == 1:
            raise LostConnection("cut")
        return answer


def test_an_attempt_whose_answer_is_lost_is_counted_once(server: Server, client: Any) -> None:
    for name in "ab":
        client.xadd("jobs", {"id": name})
    worker = joined(server)
    first, second = read(worker)
    worker.begin({first: 1})
    worker._scripts.begin = AnswersAreLost(worker._scripts.begin)

    assert worker.begin({first: 2, second: 1}) == [2, 1]

    assert worker._scripts.begin.calls == 2
    assert [worker.attempts_of(entry) for entry in (first, second)] == [2, 1]
    worker.close()


def test_a_result_whose_answer_is_lost_is_ours_and_published_once(server: Server, client: Any) -> None:
    client.xadd("jobs", {"id": "a"})
    worker = joined(server)
    [entry] = read(worker)
    worker._scripts.commit = AnswersAreLost(worker._scripts.commit)

    assert worker.commit(entry, "a", b"good")

    assert [fields[b"reply"] for _, fields in client.xrange("jobs:results")] == [b"good"]
    worker.close()


def test_a_lost_answer_does_not_make_anothers_job_ours(server: Server, client: Any) -> None:
    client.xadd("jobs", {"id": "a"})
    first, second = joined(server), joined(server)
    [entry] = read(first)
    client.xclaim("jobs", "group", second._name, 0, [entry])
    first._scripts.commit = AnswersAreLost(first._scripts.commit)

    assert not first.commit(entry, "a", b"late")

    assert client.xlen("jobs:results") == 0
    assert second.commit(entry, "a", b"good")
    first.close()
    second.close()


def test_results_are_kept_by_the_clock_of_the_server(
    server: Server, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = 1000 * client.time()[0]
    for age_seconds in (STREAMS.result_ttl_seconds + 60, 3600):
        for number in range(150):  # a server trims whole blocks of entries
            client.xadd("jobs:results", {"id": "old"}, id=f"{now_ms - 1000 * age_seconds}-{number}")
    monkeypatch.setattr("time.time", lambda: 4e9)  # this machine is ahead
    client.xadd("jobs", {"id": "a"})
    worker = joined(server)
    [entry] = read(worker)

    assert worker.commit(entry, "a", b"good")

    left = [int(each.partition(b"-")[0]) for each, _ in client.xrange("jobs:results")]
    assert sum(at == now_ms - 3_600_000 for at in left) == 150
    assert sum(at < now_ms - 3_600_000 for at in left) < 100
    worker.close()


def test_a_worker_that_leaves_does_not_keep_its_jobs_by_a_last_heartbeat(server: Server, client: Any) -> None:
    client.xadd("jobs", {"id": "a"})
    worker, other = joined(server, lease_seconds=3), joined(server, lease_seconds=3)
    [entry] = read(worker)
    beaten: list[str] = []

    def held() -> frozenset[str]:
        beaten.append(entry)
        return frozenset({entry})

    worker.keep_alive(held, lambda _: None)
    until(lambda: beaten, "a heartbeat")
    worker.close([], [entry])

    assert read(other) == [entry]
    other.close()


def test_a_late_heartbeat_does_not_make_a_worker_take_its_own_jobs(server: Server, client: Any) -> None:
    client.xadd("jobs", {"id": "a"})
    worker = joined(server, lease_seconds=0.05)
    held = frozenset(read(worker))
    assert not NEVER.wait(0.2)

    assert not worker.read(5, held, NEVER, may_wait=False)

    worker.close()


def test_jobs_in_an_answer_that_was_lost_are_read_again(server: Server, client: Any) -> None:
    for name in "abc":
        client.xadd("jobs", {"id": name})
    worker = joined(server)
    held = frozenset(read(worker, at_most=1))
    client.xreadgroup("group", worker._name, {"jobs": ">"}, count=1)  # lost on its way
    worker._may_have_more = True

    [(again, fields)] = worker.read(5, held, NEVER, may_wait=False)

    assert again not in held
    assert fields == {b"id": b"b"}
    worker.close()


def test_a_heartbeat_keeps_jobs_and_reports_those_that_are_lost(server: Server, client: Any) -> None:
    for name in "ab":
        client.xadd("jobs", {"id": name})
    worker, other = joined(server, lease_seconds=0.3), joined(server, lease_seconds=0.3)
    held = set(read(worker))
    lost: list[str] = []
    worker.keep_alive(lambda: frozenset(held), lost.append)
    assert not NEVER.wait(1.0)
    assert read(other) == []  # kept, for longer than a lease
    gone = min(held)
    client.xclaim("jobs", "group", other._name, 0, [gone])

    until(lambda: lost, "the loss to be told")

    assert set(lost) == {gone}
    worker.close()
    other.close()


def test_an_unhealthy_worker_keeps_no_jobs(server: Server, client: Any) -> None:
    client.xadd("jobs", {"id": "a"})
    worker = joined(server, lease_seconds=0.3, is_well=False)
    other = joined(server, lease_seconds=0.3)
    [held] = read(worker)
    worker.keep_alive(lambda: frozenset([held]), lambda _: None)

    until(lambda: read(other) == [held], "the other worker to have it")

    worker.close()
    other.close()


def test_consumers_whose_process_has_long_ended_are_removed(server: Server, client: Any) -> None:
    client.xgroup_create("jobs", "group", "0", mkstream=True)
    client.xgroup_createconsumer("jobs", "group", "gone")
    assert not NEVER.wait(0.2)
    worker = joined(server, lease_seconds=0.001)

    names = [consumer["name"] for consumer in client.xinfo_consumers("jobs", "group")]

    assert b"gone" not in names
    worker.close()


def test_a_job_is_added_once_unless_it_has_changed_or_is_added_again_on_purpose(
    server: Server, client: Any
) -> None:
    jobs = StreamClient(RedisServer(port=server.port), STREAMS)

    job = NewJob("a", b"image", b"{}")
    assert jobs.send(job, "digest", again=False)
    assert not jobs.send(job, "digest", again=False)
    assert jobs.send(job, "another", again=False)
    assert jobs.send(job, "another", again=True)

    assert jobs.waiting() == 3
    jobs.close()


def test_what_others_have_put_among_the_failed_jobs_is_listed_too(server: Server, client: Any) -> None:
    client.xadd("jobs:failed", {b"\xff": b"\xff", "id": b"\xff", "attempts": "many", "image": b"\xff"})
    jobs = StreamClient(RedisServer(port=server.port), STREAMS)

    [failed] = jobs.jobs()

    assert (failed.attempts, failed.content) == (0, {"image": b"\xff"})
    jobs.close()


def test_a_result_stays_until_it_is_settled(server: Server, client: Any) -> None:
    for number in range(25):
        client.xadd("jobs:results", {"id": str(number), "reply": json.dumps(number)})
    jobs = StreamClient(RedisServer(port=server.port), STREAMS)
    first = StreamInbox(jobs)
    taken = [first.next() for _ in range(3)]
    first.settle()

    second = StreamInbox(jobs)
    rest = []
    while (reply := second.next(0.1)) is not None:
        rest.append(int(reply))
        second.settle()

    assert taken == [b"0", b"1", b"2"]
    assert rest == [n for n in range(25) if n != 2]
    assert client.xlen("jobs:results") == 0
    jobs.close()
