"""`sampoll serve stream` while workers, servers and networks fail: nothing is lost or done twice."""

import json
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import OutOfMemoryError, ReadOnlyError
from support.folders import BOX
from support.process import SAMPOLL, environment, sampoll, until
from support.redis_servers import SERVERS, VALKEY, Server, proxy_to, running_server, server_name
from support.stream_working import AOF, IMAGE, POISON, assert_each_is_done_once, queue, results, worker


def test_a_dead_workers_jobs_are_done_by_another(
    tmp_path: Path, server: Server, client: "redis.Redis", gate: tuple[Path, Path]
) -> None:
    started, go = gate
    queue(client, ["poison"], POISON)
    queue(client, ["a", "b", "c"])
    with worker(tmp_path / "dead.log", server.port, "--lease", 1, model="waiting") as dead:
        until(started.exists, "the first worker to begin")
        dead.kill()
        dead.wait()
        go.touch()
        with worker(tmp_path / "log", server.port, "--lease", 1, model="waiting"):
            until(lambda: client.xlen("sam:results") >= 4, "the results")

    assert_each_is_done_once(client, ["poison", "a", "b", "c"])


def test_after_a_flush_the_worker_creates_the_group_again_without_a_hot_loop(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    log = tmp_path / "log"
    with worker(log, server.port) as process:
        queue(client, ["before"])
        until(lambda: client.xlen("sam:results") >= 1, "the first result")
        client.flushall()
        time.sleep(2)
        queue(client, ["after"])
        until(lambda: client.xlen("sam:results") >= 1, "the result after the flush")
        process.terminate()
        assert process.wait(30) == 0

    assert_each_is_done_once(client, ["after"])
    assert 1 <= log.read_text().count("the group sampoll was deleted") < 5


def fill(client: "redis.Redis") -> None:
    client.config_set("maxmemory", "1mb")


def empty(client: "redis.Redis") -> None:
    client.config_set("maxmemory", "0")


def demote(client: "redis.Redis") -> None:
    client.execute_command("REPLICAOF", "127.0.0.1", "1")


def promote(client: "redis.Redis") -> None:
    client.execute_command("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize(("spoil", "mend"), [(fill, empty), (demote, promote)], ids=["full", "read-only"])
def test_while_a_server_takes_no_results_none_is_lost_and_no_attempt_is_counted(
    tmp_path: Path, gate: tuple[Path, Path], spoil: Callable[[Any], None], mend: Callable[[Any], None]
) -> None:
    started, go = gate
    log = tmp_path / "log"
    with running_server(VALKEY, "--maxmemory-policy", "noeviction") as server, server.client() as client:
        queue(client, ["poison"], POISON)
        with worker(log, server.port, "--max-attempts", 1, model="waiting"):
            until(started.exists, "the worker to begin")
            spoil(client)
            with pytest.raises((OutOfMemoryError, ReadOnlyError)):
                client.set("more", bytes(1000))
            go.touch()
            until(lambda: "paused: " in log.read_text(), "the worker to say so")
            time.sleep(1)
            assert client.xlen("sam:results") == 0
            mend(client)
            until(lambda: client.xlen("sam:results") >= 1, "the result")

        assert_each_is_done_once(client, ["poison"])


@pytest.mark.parametrize(
    "seconds", [5, pytest.param(30, marks=[pytest.mark.campaign, pytest.mark.timeout(600)])]
)
def test_a_network_that_is_cut_delivers_nothing_twice(
    tmp_path: Path, server: Server, client: "redis.Redis", gate: tuple[Path, Path], seconds: float
) -> None:
    started, go = gate
    queue(client, ["poison"], POISON)
    queue(client, ["a", "b"])
    with (
        proxy_to(server.port) as proxy,
        worker(tmp_path / "cut.log", proxy.port, "--lease", 2, model="waiting") as cut,
    ):
        until(started.exists, "the first worker to begin")
        proxy.stall()
        with worker(tmp_path / "log", server.port, "--lease", 2, model="waiting"):
            go.touch()
            until(lambda: client.xlen("sam:results") >= 3, "the other worker to do it")
            time.sleep(seconds)
            proxy.resume()
            until(lambda: "has it now" in (tmp_path / "cut.log").read_text(), "the first to find out")
            queue(client, ["later"])
            until(lambda: client.xlen("sam:results") >= 4, "a later job")
        cut.terminate()
        assert cut.wait(60) == 0

    assert_each_is_done_once(client, ["poison", "a", "b", "later"])


def test_a_job_that_kills_its_workers_moves_to_the_failed_jobs_and_the_others_are_done(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    queue(client, ["a", "b"])
    queue(client, ["poison"], POISON)
    queue(client, ["c"])
    log = tmp_path / "log"
    for _ in range(4):
        with worker(log, server.port, "--lease", 0.5, "--max-attempts", 2, model="killing") as process:
            until(lambda: process.poll() is not None or client.xlen("sam:results") >= 4, "an end")
        if client.xlen("sam:results") >= 4:
            break

    found = results(client)
    assert sorted(found) == ["a", "b", "c", "poison"]
    assert found["poison"][0]["meta"]["error_code"] == "crashed-repeatedly"
    assert all("error" not in found[name][0]["meta"] for name in "abc")
    letters: Any = client.xrange("sam:failed")
    [(_, letter)] = letters
    assert letter[b"image"] == POISON
    assert client.xpending("sam", "sampoll")["pending"] == 0


def test_jobs_that_are_deleted_while_in_flight_are_counted_and_the_others_are_done(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    queue(client, ["a", "b"])
    client.xgroup_create("sam", "sampoll", "0")
    taken: Any = client.xreadgroup("sampoll", "dead", {"sam": ">"}, count=2)
    [[_, [(first, _), _]]] = taken
    client.xdel("sam", first)
    log = tmp_path / "log"
    with worker(log, server.port, "--lease", 0.5) as process:
        until(lambda: client.xlen("sam:results") >= 1, "the result")
        until(lambda: client.xpending("sam", "sampoll")["pending"] == 0, "nothing to be pending")
        process.terminate()
        process.wait(30)

    assert "1 job was deleted from sam before the work was done" in log.read_text()
    assert list(results(client)) == ["b"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("seconds", "count"),
    [pytest.param(4, 60, marks=pytest.mark.slow), pytest.param(60, 200, marks=pytest.mark.campaign)],
)
def test_every_job_has_one_result_when_workers_and_server_are_killed(
    tmp_path: Path, seconds: float, count: int
) -> None:
    """Workers and the server, which forces every change to the disk, are killed at random."""
    chosen = random.Random(7)
    names = [f"job {number}" for number in range(count)]
    log = tmp_path / "log"
    serve = [
        SAMPOLL,
        "serve",
        "stream",
        "--model",
        "support.fakes:slow",
        "--lease",
        2,
        "--max-attempts",
        1000,
    ]

    with running_server(VALKEY, *AOF) as server:
        command = [*map(str, [*serve, "--redis-port", server.port])]

        def start() -> subprocess.Popen[bytes]:
            with log.open("ab") as output:
                return subprocess.Popen(command, env=environment(), stdout=output, stderr=output)

        with server.client() as client:
            queue(client, names)
        workers = [start() for _ in range(3)]
        try:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                time.sleep(chosen.uniform(0.5, 2.0))
                if chosen.random() < 0.3:
                    server.kill()
                    server.start()
                else:
                    index = chosen.randrange(3)
                    workers[index].kill()
                    workers[index].wait()
                    workers[index] = start()
            with server.client() as client:
                until(lambda: client.xlen("sam:results") >= count, "all results", seconds=240)
                time.sleep(1)
                assert_each_is_done_once(client, names)
        finally:
            for each in workers:
                each.kill()
                each.wait()


UNFIT: list[dict[Any, Any]] = [
    {"path": b"a\0b", "prompt": "{}"},
    {"path": b"\xff.jpg", "prompt": json.dumps(BOX)},
    {"path": b"../" * 2000, "prompt": "{}"},
    {"image": IMAGE, "prompt": "not json {"},
    {"image": IMAGE, "prompt": b"\xff\0"},
    {"image": IMAGE, "prompt": 'null}, "meta":{}, "x":{"y":0'},
    {"image": IMAGE, "prompt": "[" * 300 + "]" * 300},
    {"image": IMAGE, "prompt": json.dumps(BOX) + " " * 20_000},
    {"image": bytes(30_000), "prompt": json.dumps(BOX)},
    {"image": IMAGE},
    {"prompt": json.dumps(BOX)},
    {b"\xff": b"\xff"},
    {"id": b"\xff", "image": IMAGE, "prompt": json.dumps(BOX)},
    {"id": "x" * 2000, "image": IMAGE, "prompt": json.dumps(BOX)},
]


@pytest.mark.parametrize("program", SERVERS, ids=server_name)
def test_unfit_entries_are_answered_and_kept_and_the_worker_goes_on(tmp_path: Path, program: str) -> None:
    limits = ("--root", tmp_path, "--max-prompt-bytes", 10_000, "--max-image-bytes", 20_000)
    names = ["a/b", "a\nb", "\0", "../../up", "\x1b]0;title\x07"]
    (tmp_path / "ok\udcff.jpg").write_bytes(IMAGE)
    with running_server(program) as server, server.client() as client:
        for fields in UNFIT:
            client.xadd("sam", fields)
        queue(client, names)
        names.append("any bytes")
        client.xadd("sam", {"id": names[-1], "path": b"ok\xff.jpg", "prompt": json.dumps(BOX)})
        with worker(tmp_path / "log", server.port, *limits) as process:
            until(lambda: client.xlen("sam:results") >= len(UNFIT) + len(names), "the results")
            process.terminate()
            assert process.wait(30) == 0

        found = results(client)
        assert sum("error" in reply["meta"] for [reply] in found.values()) == len(UNFIT)
        assert set(names) <= set(found)
        assert client.xlen("sam:failed") == len(UNFIT)
        failed: Any = client.xrange("sam:failed")
        assert {letter[b"attempts"] for _, letter in failed} == {b"1"}
        assert client.xlen("sam") == client.xpending("sam", "sampoll")["pending"] == 0
        output = tmp_path / "here" / "output"
        place = ("--stream", "sam", "--redis-port", server.port, "-o", output)
        received = sampoll("recv", *place, "--timeout", 1)

    assert (received.returncode, received.stdout) == (1, f"{len(names)} written, {len(UNFIT)} failed\n")
    assert {path.parent for path in tmp_path.rglob("*.png")} == {output, output / "a"}
