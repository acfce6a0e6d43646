"""`sampoll serve stream` as processes that share a stream, and the commands at its other end."""

import json
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from support.folders import BOX, Folders, drop_pair, names_in
from support.images import image_of
from support.process import SAMPOLL, environment, sampoll, until
from support.redis_servers import SERVERS, VALKEY, Server, running_server, server_name
from support.stream_working import AOF, IMAGE, POISON, assert_each_is_done_once, queue, results, worker


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


def test_a_job_that_is_longer_than_the_lease_is_done_once(
    tmp_path: Path, server: Server, client: "redis.Redis", gate: tuple[Path, Path]
) -> None:
    started, go = gate
    queue(client, ["long"], POISON)
    with (
        worker(tmp_path / "a.log", server.port, "--lease", 0.6, model="waiting"),
        worker(tmp_path / "b.log", server.port, "--lease", 0.6, model="waiting"),
    ):
        until(started.exists, "a worker to begin")
        started.unlink()
        time.sleep(3)
        assert not started.exists(), "the other one began it too"
        go.touch()
        until(lambda: client.xlen("sam:results") >= 1, "the result")

    assert_each_is_done_once(client, ["long"])


def test_jobs_of_a_worker_that_is_stopped_are_available_at_once(
    tmp_path: Path, server: Server, client: "redis.Redis", gate: tuple[Path, Path]
) -> None:
    started, go = gate
    queue(client, ["long"], POISON)
    queue(client, ["a", "b", "c"])
    with worker(tmp_path / "a.log", server.port, "--lease", 600, model="waiting") as first:
        until(started.exists, "the worker to begin")
        until(lambda: client.xpending("sam", "sampoll")["pending"] == 4, "the worker to have its slots full")
        first.terminate()
        go.touch()
        assert first.wait(30) == 0
    with worker(tmp_path / "b.log", server.port, "--lease", 600, model="waiting"):
        until(lambda: client.xlen("sam:results") >= 4, "the results, long before the lease ends")

    assert_each_is_done_once(client, ["long", "a", "b", "c"])


def is_logged(log: Path, what: str) -> bool:
    return what in log.read_text()


def test_a_worker_warns_of_a_server_that_may_lose_jobs(tmp_path: Path) -> None:
    logs = {}
    for policy, options in (("allkeys-lru", ()), ("noeviction", AOF)):
        log = tmp_path / f"{policy}.log"
        with (
            running_server(VALKEY, *options, "--maxmemory-policy", policy) as server,
            worker(log, server.port) as process,
        ):
            until(partial(is_logged, log, ": ready"), "the worker")
            process.terminate()
            process.wait(30)
        logs[policy] = log.read_text()

    assert "writes no append-only file" in logs["allkeys-lru"]
    assert "may evict jobs when it is full" in logs["allkeys-lru"]
    assert "WARNING" not in logs["noeviction"]


def test_failed_jobs_are_listed_shown_tried_again_and_deleted(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    for name in ("first", "second"):
        client.xadd("sam", {"id": name, "image": IMAGE, "prompt": '{"points": "none"}'})
    with worker(tmp_path / "log", server.port):
        until(lambda: client.xlen("sam:failed") >= 2, "the dead letters")
        place = ("--stream", "sam", "--redis-port", server.port)
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


def test_image_paths_outside_of_root_are_refused(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.jpg").write_bytes(IMAGE)
    (tmp_path / "secret.jpg").write_bytes(IMAGE)
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    for path in ("a.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "missing.jpg", ""):
        client.xadd("sam", {"id": path or "empty", "path": path, "prompt": json.dumps(BOX)})
    client.xadd("sam", {"id": "nothing", "else": "x"})
    with worker(tmp_path / "log", server.port, "--root", root, "--max-attempts", 1):
        until(lambda: client.xlen("sam:results") >= 7, "the results")

    found = {name: reply["meta"].get("error", "") for name, [reply] in results(client).items()}
    assert found["a.jpg"] == ""
    for path in ("../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg"):
        assert "is outside --root" in found[path]
    assert "missing.jpg: is not there" in found["missing.jpg"]
    assert "cannot be read" in found["empty"]
    assert found["nothing"] == "prompt: is missing"


def test_a_key_of_another_type_or_a_missing_password_ends_the_worker(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    client.set("sam", "no stream")
    serve = ("serve", "stream", "--model", "support.fakes:boxes", "--redis-port")
    no_stream = sampoll(*serve, server.port)
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
        scripts = ("+evalsha", "+script|load")
        keys = ["reset", "on", ">p", "~sam", "~sam:*"]
        client.execute_command(
            "ACL", "SETUSER", "worker", *keys, "+@stream", *scripts, "+hincrby", "+hget", "+hdel"
        )
        client.execute_command("ACL", "SETUSER", "sender", *keys, "+@stream", *scripts, "+get", "+set")
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
    assert "does not report its settings" in log.read_text()


def test_a_folder_is_sent_through_a_stream_and_received_despite_interruptions(
    tmp_path: Path, server: Server, client: "redis.Redis", folders: Folders
) -> None:
    photos, output = tmp_path / "photos", tmp_path / "results"
    photos.mkdir()
    for number in range(30):
        drop_pair(photos, f"p{number}", image=image_of(seed=number))
        drop_pair(folders.input, f"p{number}", image=image_of(seed=number))
    drop_pair(photos, "bad", {"points": "none"})
    place = ("--redis-port", server.port, "--stream", "sam")
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

    with worker(tmp_path / "log", server.port):
        again = sampoll(*command[1:])
        some = sampoll("recv", *place, "-o", output, "--count", 10)
        rest = sampoll("recv", *place, "-o", output, "--timeout", 3)
    once_more = sampoll(*command[1:])
    run = sampoll("run", *folders.flags, "--model", "support.fakes:boxes")

    assert again.stdout == "26 queued, 5 known, 0 failed\n"
    assert once_more.stdout == "0 queued, 31 known, 0 failed\n"
    assert run.returncode == 0
    assert (some.returncode, rest.returncode) in ((0, 1), (1, 0))  # one of the results is an error
    assert names_in(output) == folders.results
    assert client.xlen("sam:results") == 0
    for name in folders.results:
        if name.endswith(".png"):
            assert (output / name).read_bytes() == (folders.output / name).read_bytes()


def test_a_result_that_is_no_reply_is_named_and_left_and_the_others_are_written(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    place = ("--redis-port", server.port, "--stream", "sam", "-o", tmp_path / "results")
    spoiled: list[Any] = [
        client.xadd("sam:results", {"id": "a", "reply": reply})
        for reply in ('{"contours": [], "mask": "", "meta": [1]}', "not json {", b"\xff", "null")
    ]
    spoiled.append(client.xadd("sam:results", {"id": "a"}))
    queue(client, ["good", "another", "a", "a.json/under a file"])
    with worker(tmp_path / "log", server.port):
        until(lambda: client.xlen("sam:results") >= 9, "the results")

    first = sampoll("recv", *place, "--count", 2)
    second = sampoll("recv", *place, "--timeout", 1, "--count", 7)
    third = sampoll("recv", *place, "--timeout", 1, "--count", 7)

    assert (first.returncode, first.stdout) == (1, "2 written, 0 failed, 5 unreadable\n")
    assert (second.returncode, second.stdout) == (1, "2 written, 0 failed, 5 unreadable\n")
    assert third.returncode == 75
    assert third.stdout == "0 written, 0 failed, 5 unreadable; 7 were expected\n"
    for entry in map(bytes.decode, spoiled):
        assert f"entry {entry} of sam:results: a message that is no reply: " in first.stderr
    left: Any = client.xrange("sam:results")
    assert [entry for entry, _ in left] == spoiled
    *rest, named_by_the_time = sorted(names_in(tmp_path / "results"), reverse=True)[::2]
    assert rest == ["good.png", "another.png", "a.png"]
    assert named_by_the_time.startswith("2")


def test_send_to_a_stream_cannot_wait_for_results(tmp_path: Path) -> None:
    run = sampoll("send", "--stream", "sam", tmp_path, "-o", tmp_path / "out")

    assert run.returncode == 2
    assert "collected by `sampoll recv --stream`" in run.stderr
