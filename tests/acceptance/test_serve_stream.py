"""`sampoll serve stream` as processes that share a stream on real servers, which may be killed."""

import json
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from fakes import POISON_HEIGHT
from redis.exceptions import OutOfMemoryError, ReadOnlyError
from redis_servers import SERVERS, VALKEY, Server, proxy_to, running_server, server_name
from support import BOX, SAMPOLL, Folders, drop_pair, encoded, environment, image_of, names_in, sampoll, until

IMAGE = encoded(image_of(), "JPEG")
POISON = encoded(image_of(height=POISON_HEIGHT), "JPEG")
AOF = ("--appendonly", "yes", "--appendfsync", "always")


@contextmanager
def worker(
    log_file: Path, port: int, *flags: object, model: str = "boxes", env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    command = [SAMPOLL, "serve", "stream", "--redis-port", port, "--model", f"fakes:{model}", *flags]
    with log_file.open("ab") as log:
        process = subprocess.Popen([*map(str, command)], env=environment(env), stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def client(shared: Server) -> Iterator["redis.Redis"]:
    with shared.client() as client:
        client.flushall()
        yield client


def queue(client: "redis.Redis", names: Sequence[str], image: bytes = IMAGE) -> None:
    for name in names:
        client.xadd("sam", {"id": name, "image": image, "prompt": json.dumps(BOX)})


def results(client: "redis.Redis") -> dict[str, list[dict[str, Any]]]:
    """The replies to each job."""
    found: dict[str, list[dict[str, Any]]] = {}
    entries: Any = client.xrange("sam:results")
    for _, fields in entries:
        found.setdefault(fields[b"id"].decode(), []).append(json.loads(fields[b"reply"]))
    return found


def assert_each_is_done_once(client: "redis.Redis", names: Sequence[str]) -> None:
    found = results(client)
    assert Counter({name: len(replies) for name, replies in found.items()}) == Counter(names)
    assert all("error" not in reply["meta"] for replies in found.values() for reply in replies)
    assert client.xlen("sam") == 0
    assert client.xpending("sam", "sampoll")["pending"] == 0
    assert client.hgetall("sam:attempts") == {}


@pytest.mark.parametrize("program", SERVERS, ids=server_name)
def test_jobs_from_before_there_was_a_group_are_shared_and_each_done_once(
    tmp_path: Path, program: str
) -> None:
    names = [f"job {number}" for number in range(40)]
    with running_server(program) as server, server.client() as client:
        queue(client, names)
        logs = [tmp_path / "a.log", tmp_path / "b.log"]
        with worker(logs[0], server.port) as first, worker(logs[1], server.port) as second:
            until(lambda: client.xlen("sam:results") >= 40, "the results")
            until(lambda: all(": ready" in log.read_text() for log in logs), "both to be ready")
            queue(client, ["one more"])
            until(lambda: client.xlen("sam:results") >= 41, "a job that comes later")
            for process in (first, second):
                process.terminate()
                assert process.wait(30) == 0

        assert_each_is_done_once(client, [*names, "one more"])
        [reply] = results(client)["one more"]
    assert set(reply["files"]) == {".png", ".json"}
    assert "appendonly yes" in logs[0].read_text()


def test_a_dead_workers_jobs_are_done_by_another(
    tmp_path: Path, shared: Server, client: "redis.Redis", gate: tuple[Path, Path]
) -> None:
    started, go = gate
    queue(client, ["poison"], POISON)
    queue(client, ["a", "b", "c"])
    with worker(tmp_path / "dead.log", shared.port, "--lease", 1, model="waiting") as dead:
        until(started.exists, "the first worker to begin")
        dead.kill()
        dead.wait()
        go.touch()
        with worker(tmp_path / "log", shared.port, "--lease", 1, model="waiting"):
            until(lambda: client.xlen("sam:results") >= 4, "the results")

    assert_each_is_done_once(client, ["poison", "a", "b", "c"])


def test_a_job_that_is_longer_than_the_lease_is_done_once(
    tmp_path: Path, shared: Server, client: "redis.Redis", gate: tuple[Path, Path]
) -> None:
    started, go = gate
    queue(client, ["long"], POISON)
    with (
        worker(tmp_path / "a.log", shared.port, "--lease", 0.6, model="waiting"),
        worker(tmp_path / "b.log", shared.port, "--lease", 0.6, model="waiting"),
    ):
        until(started.exists, "a worker to begin")
        started.unlink()
        time.sleep(3)
        assert not started.exists(), "the other one began it too"
        go.touch()
        until(lambda: client.xlen("sam:results") >= 1, "the result")

    assert_each_is_done_once(client, ["long"])


def test_a_worker_that_is_stopped_hands_its_jobs_over_at_once(
    tmp_path: Path, shared: Server, client: "redis.Redis", gate: tuple[Path, Path]
) -> None:
    started, go = gate
    queue(client, ["long"], POISON)
    queue(client, ["a", "b", "c"])
    with worker(tmp_path / "a.log", shared.port, "--lease", 600, model="waiting") as first:
        until(started.exists, "the worker to begin")
        until(lambda: client.xpending("sam", "sampoll")["pending"] == 4, "the worker to have its slots full")
        first.terminate()
        go.touch()
        assert first.wait(30) == 0
    with worker(tmp_path / "b.log", shared.port, "--lease", 600, model="waiting"):
        until(lambda: client.xlen("sam:results") >= 4, "the results, long before the lease ends")

    assert_each_is_done_once(client, ["long", "a", "b", "c"])


def test_a_flushed_server_is_healed_without_a_hot_loop(
    tmp_path: Path, shared: Server, client: "redis.Redis"
) -> None:
    log = tmp_path / "log"
    with worker(log, shared.port) as process:
        queue(client, ["before"])
        until(lambda: client.xlen("sam:results") >= 1, "the first result")
        client.flushall()
        time.sleep(2)
        queue(client, ["after"])
        until(lambda: client.xlen("sam:results") >= 1, "the result after the flush")
        process.terminate()
        assert process.wait(30) == 0

    assert_each_is_done_once(client, ["after"])
    assert 1 <= log.read_text().count("the group sampoll is gone") < 5


def fill(client: "redis.Redis") -> None:
    client.config_set("maxmemory", "1mb")


def empty(client: "redis.Redis") -> None:
    client.config_set("maxmemory", "0")


def demote(client: "redis.Redis") -> None:
    client.execute_command("REPLICAOF", "127.0.0.1", "1")


def promote(client: "redis.Redis") -> None:
    client.execute_command("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize(("spoil", "mend"), [(fill, empty), (demote, promote)], ids=["full", "read-only"])
def test_a_server_that_takes_no_results_loses_none_and_costs_no_attempt(
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


def said(log: Path, what: str) -> bool:
    return what in log.read_text()


def test_a_server_that_may_lose_jobs_is_warned_of(tmp_path: Path) -> None:
    logs = {}
    for policy, options in (("allkeys-lru", ()), ("noeviction", AOF)):
        log = tmp_path / f"{policy}.log"
        with (
            running_server(VALKEY, *options, "--maxmemory-policy", policy) as server,
            worker(log, server.port) as process,
        ):
            until(partial(said, log, ": ready"), "the worker")
            process.terminate()
            process.wait(30)
        logs[policy] = log.read_text()

    assert "writes no append-only file" in logs["allkeys-lru"]
    assert "may evict jobs when it is full" in logs["allkeys-lru"]
    assert "WARNING" not in logs["noeviction"]


@pytest.mark.parametrize(
    "seconds", [5, pytest.param(30, marks=[pytest.mark.campaign, pytest.mark.timeout(600)])]
)
def test_a_network_that_is_cut_delivers_nothing_twice(
    tmp_path: Path, shared: Server, client: "redis.Redis", gate: tuple[Path, Path], seconds: float
) -> None:
    started, go = gate
    queue(client, ["poison"], POISON)
    queue(client, ["a", "b"])
    with (
        proxy_to(shared.port) as proxy,
        worker(tmp_path / "cut.log", proxy.port, "--lease", 2, model="waiting") as cut,
    ):
        until(started.exists, "the first worker to begin")
        proxy.stall()
        with worker(tmp_path / "log", shared.port, "--lease", 2, model="waiting"):
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


def test_a_job_that_kills_its_workers_becomes_a_dead_letter_and_its_neighbours_are_done(
    tmp_path: Path, shared: Server, client: "redis.Redis"
) -> None:
    queue(client, ["a", "b"])
    queue(client, ["poison"], POISON)
    queue(client, ["c"])
    log = tmp_path / "log"
    for _ in range(4):
        with worker(log, shared.port, "--lease", 0.5, "--max-attempts", 2, model="killing") as process:
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


def test_failed_jobs_are_listed_shown_tried_again_and_deleted(
    tmp_path: Path, shared: Server, client: "redis.Redis"
) -> None:
    for name in ("first", "second"):
        client.xadd("sam", {"id": name, "image": IMAGE, "prompt": '{"points": "none"}'})
    with worker(tmp_path / "log", shared.port):
        until(lambda: client.xlen("sam:failed") >= 2, "the dead letters")
        place = ("--stream", "sam", "--redis-port", shared.port)
        listed = sampoll("failed", "list", *place)
        shown = sampoll("failed", "show", "first", *place)
        again = sampoll("failed", "retry", "first", *place)
        until(lambda: client.xlen("sam:results") >= 3, "the second try")
        as_json = json.loads(sampoll("failed", "list", "--json", *place).stdout)
        purged = sampoll("failed", "purge", "--all", *place)

    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["first", "second"]
    assert "1 try  bad-prompt: prompt: points: must be a list" in listed.stdout
    assert f"image: {len(IMAGE)} bytes" in shown.stdout
    assert again.stdout == "1 to be tried again by the workers of sam\n"
    assert sorted(letter["name"] for letter in as_json) == ["first", "second"]
    assert purged.stdout.startswith("2 deleted, ")
    assert client.xlen("sam:failed") == 0


def test_images_may_lie_below_a_directory_and_nowhere_else(
    tmp_path: Path, shared: Server, client: "redis.Redis"
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.jpg").write_bytes(IMAGE)
    (tmp_path / "secret.jpg").write_bytes(IMAGE)
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    for path in ("a.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "missing.jpg", ""):
        client.xadd("sam", {"id": path or "empty", "path": path, "prompt": json.dumps(BOX)})
    client.xadd("sam", {"id": "nothing", "else": "x"})
    with worker(tmp_path / "log", shared.port, "--root", root, "--max-attempts", 1):
        until(lambda: client.xlen("sam:results") >= 7, "the results")

    found = {name: reply["meta"].get("error", "") for name, [reply] in results(client).items()}
    assert found["a.jpg"] == ""
    for path in ("../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg"):
        assert "leads out of --root" in found[path]
    assert "missing.jpg: is not there" in found["missing.jpg"]
    assert "cannot be read" in found["empty"]
    assert found["nothing"] == "prompt: is missing"


def test_jobs_that_are_deleted_under_way_are_counted_and_the_others_go_on(
    tmp_path: Path, shared: Server, client: "redis.Redis"
) -> None:
    queue(client, ["a", "b"])
    client.xgroup_create("sam", "sampoll", "0")
    taken: Any = client.xreadgroup("sampoll", "dead", {"sam": ">"}, count=2)
    [[_, [(first, _), _]]] = taken
    client.xdel("sam", first)
    log = tmp_path / "log"
    with worker(log, shared.port, "--lease", 0.5) as process:
        until(lambda: client.xlen("sam:results") >= 1, "the result")
        until(lambda: client.xpending("sam", "sampoll")["pending"] == 0, "nothing to be pending")
        process.terminate()
        process.wait(30)

    assert "1 jobs were deleted from sam before they were done" in log.read_text()
    assert list(results(client)) == ["b"]


def test_what_the_server_refuses_ends_the_worker(
    tmp_path: Path, shared: Server, client: "redis.Redis"
) -> None:
    client.set("sam", "no stream")
    serve = ("serve", "stream", "--model", "fakes:boxes", "--redis-port")
    no_stream = sampoll(*serve, shared.port)
    with running_server(VALKEY, "--requirepass", "secret") as server:
        refused = sampoll(*serve, server.port)

    assert no_stream.returncode == 78
    assert "is no stream" in no_stream.stderr
    assert refused.returncode == 77


def test_the_rights_that_are_documented_are_enough(tmp_path: Path) -> None:
    drop_pair(tmp_path, "a")
    drop_pair(tmp_path, "bad", {"points": "none"})
    env = {"SAMPOLL_REDIS_PASSWORD": "p"}
    with running_server() as server, server.client() as client:
        keys = ["reset", "on", ">p", "~sam", "~sam:*"]
        client.execute_command(
            "ACL", "SETUSER", "worker", *keys, "+@stream", "+eval", "+hincrby", "+hget", "+hdel"
        )
        client.execute_command("ACL", "SETUSER", "sender", *keys, "+@stream", "+eval", "+get", "+set")
        sender = ("--redis-port", server.port, "--redis-username", "sender", "--stream", "sam")
        sent = sampoll("send", *sender, tmp_path, env=env)
        log = tmp_path / "log"
        with worker(log, server.port, "--redis-username", "worker", env=env) as process:
            received = sampoll("recv", *sender, "-o", tmp_path / "out", "--count", 2, env=env)
            process.terminate()
            assert process.wait(30) == 0
        failed = sampoll("failed", "retry", "--all", *sender, env=env)

    assert sent.returncode == 0, sent.stderr
    assert received.stdout == "1 written, 1 failed\n"
    assert failed.stdout == "1 to be tried again by the workers of sam\n"
    assert "does not say how it is set up" in log.read_text()


def test_a_folder_goes_through_a_stream_and_comes_back_whatever_is_interrupted(
    tmp_path: Path, shared: Server, client: "redis.Redis", folders: Folders
) -> None:
    photos, output = tmp_path / "photos", tmp_path / "results"
    photos.mkdir()
    for number in range(30):
        drop_pair(photos, f"p{number}", image=image_of(seed=number))
        drop_pair(folders.input, f"p{number}", image=image_of(seed=number))
    drop_pair(photos, "bad", {"points": "none"})
    place = ("--redis-port", shared.port, "--stream", "sam")
    command = [SAMPOLL, "send", *place, photos, "--in-flight", 5]
    # Nobody works yet, so it waits for room, and is interrupted.
    first = subprocess.Popen([*map(str, command)], env=environment(), stdout=subprocess.PIPE, text=True)
    until(lambda: client.xlen("sam") == 5, "the stream to be full")
    first.send_signal(signal.SIGINT)
    stopped, _ = first.communicate(timeout=30)
    assert (first.returncode, stopped) == (
        75,
        "5 queued, 0 known, 0 failed; stopped before everything was queued: run it again\n",
    )

    with worker(tmp_path / "log", shared.port):
        again = sampoll(*command[1:])
        some = sampoll("recv", *place, "-o", output, "--count", 10)
        rest = sampoll("recv", *place, "-o", output, "--timeout", 3)
    once_more = sampoll(*command[1:])
    run = sampoll("run", *folders.flags, "--model", "fakes:boxes")

    assert again.stdout == "26 queued, 5 known, 0 failed\n"
    assert once_more.stdout == "0 queued, 31 known, 0 failed\n"
    assert run.returncode == 0
    assert (some.returncode, rest.returncode) in ((0, 1), (1, 0))  # one of the results is an error
    assert names_in(output) == folders.results
    assert client.xlen("sam:results") == 0
    for name in folders.results:
        if name.endswith(".png"):
            assert (output / name).read_bytes() == (folders.output / name).read_bytes()


def test_results_of_a_stream_are_not_waited_for(tmp_path: Path) -> None:
    run = sampoll("send", "--stream", "sam", tmp_path, "-o", tmp_path / "out")

    assert run.returncode == 2
    assert "collected by `sampoll recv --stream`" in run.stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seconds", [12, pytest.param(60, marks=pytest.mark.campaign)])
def test_whoever_is_killed_every_job_is_answered_once(tmp_path: Path, seconds: float) -> None:
    """Workers and the server, which forces every change to the disk, are killed at random."""
    chosen = random.Random(7)
    names = [f"job {number}" for number in range(200)]
    log = tmp_path / "log"
    serve = [SAMPOLL, "serve", "stream", "--model", "fakes:slow", "--lease", 2, "--max-attempts", 1000]

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
                until(lambda: client.xlen("sam:results") >= 200, "all results", seconds=240)
                time.sleep(1)
                assert_each_is_done_once(client, names)
        finally:
            for each in workers:
                each.kill()
                each.wait()
