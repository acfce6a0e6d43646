"""`sampoll serve redis` with servers that are killed, load, or are full, and with a network that stalls."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import redis
from support.process import running_sampoll, until
from support.redis_clients import Annotator, next_reply
from support.redis_servers import VALKEY, Server, proxy_to, running_server
from support.redis_serving import BOX, IMAGE, request, serving


def test_after_a_kill_of_the_server_the_service_reconnects_and_logs_the_gap(tmp_path: Path) -> None:
    with running_server() as server, serving(tmp_path, server.port) as service:
        with server.client() as client:
            assert len(Annotator(client).ask(IMAGE, BOX)) == 1
        server.kill()
        until(lambda: "no subscription to" in service.log, "the loss to be noticed")
        server.start()
        until(lambda: "again; what was published in the last" in service.log, "the new subscription")
        with server.client() as client:
            assert len(Annotator(client).ask(IMAGE, BOX)) == 1

        assert service.end() == 0
    assert "2 done, 0 failed" in service.log
    assert "1 gaps in the subscription" in service.log


def test_a_service_may_start_before_its_server(tmp_path: Path) -> None:
    with running_server() as server:
        server.kill()
        command = ("serve", "redis", "--redis-port", server.port, "--model", "support.fakes:boxes")
        log_file = tmp_path / "log"
        with log_file.open("wb") as log, running_sampoll(*command, log=log) as process:
            until(lambda: "no subscription to" in log_file.read_text(), "the service to say so")
            server.start()
            with server.client() as client:
                until(lambda: client.pubsub_numpat() == 1, "the subscription")
                assert len(Annotator(client).ask(IMAGE, BOX)) == 1
            process.terminate()
            assert process.wait(30) == 0


def test_while_the_server_loads_its_data_the_service_waits(tmp_path: Path) -> None:
    with running_server(VALKEY, "--save", "3600 1") as server, serving(tmp_path, server.port) as service:
        with server.client() as client:
            for number in range(100):
                client.set(f"key{number}", os.urandom(1000))
            client.save()
        server.kill()
        server.start(
            *("--key-load-delay", "15000", "--loading-process-events-interval-bytes", "1024"), wait=False
        )
        until(lambda: "again; what was published" in service.log, "the new subscription")
        with server.client() as client:
            assert len(Annotator(client).ask(IMAGE, BOX)) == 1
        assert service.end() == 0
    assert "1 gaps in the subscription" in service.log
    assert "1 done, 0 failed" in service.log


def fill(client: "redis.Redis") -> None:
    for number in range(10_000):
        client.set(f"key{number}", bytes(1000))


def test_a_full_server_keeps_no_replies_but_passes_them_on(tmp_path: Path) -> None:
    options = ("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    with (
        running_server(VALKEY, *options) as server,
        server.client() as client,
        serving(tmp_path, server.port) as service,
        client.pubsub() as pubsub,
    ):
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            fill(client)
        pubsub.subscribe("sam_out")
        client.publish("sam_in", request(id="a"))
        assert "error" not in next_reply(pubsub)["meta"]
        client.publish("sam_in", request(id="b"))
        assert "error" not in next_reply(pubsub)["meta"]
        assert client.get("sam_out:reply:a") is None
        assert service.end() == 0
    assert service.log.count("replies are not kept for late subscribers") == 1


def test_a_network_that_stalls_loses_nothing(tmp_path: Path, server: Server, client: "redis.Redis") -> None:
    with proxy_to(server.port) as proxy, serving(tmp_path, proxy.port) as service, client.pubsub() as pubsub:
        pubsub.subscribe("sam_out")
        pubsub.get_message(timeout=5)
        proxy.stall()
        for number in range(20):
            client.publish("sam_in", request(id=f"stalled {number}"))
        assert pubsub.get_message(timeout=2) is None
        proxy.resume()

        ids = [next_reply(pubsub)["id"] for _ in range(20)]

        assert service.end() == 0
    assert ids == [f"stalled {number}" for number in range(20)]
    assert "0 gaps" in service.log


def published(client: "redis.Redis", pattern: str) -> Any:
    """A subscription to all channels of a pattern."""
    pubsub = client.pubsub()
    pubsub.psubscribe(pattern)
    pubsub.get_message(timeout=5)
    return pubsub


def messages_on(pubsub: Any, seconds: float) -> list[bytes]:
    """What comes until nothing has come for so long."""
    found = []
    while message := pubsub.get_message(ignore_subscribe_messages=False, timeout=seconds):
        found.append(message["data"])
    return found


@pytest.mark.parametrize("spoiled", [{}, {"image": "!"}, {"image": None}, {"prompt": None}])
def test_a_reply_to_the_channel_of_requests_is_not_taken_for_one(
    tmp_path: Path, server: Server, client: "redis.Redis", spoiled: dict[str, object]
) -> None:
    with serving(tmp_path, server.port) as service, published(client, "sam_in") as pubsub:
        for name in ("a", "b"):
            client.publish("sam_in", request(id=name, reply_to="sam_in", files=True, **spoiled))

        found = messages_on(pubsub, 2)

        assert service.end() == 0
    assert len(found) == 4  # two requests, and a reply to each
    assert service.log.count("a reply came on a channel of requests") == 1


def test_two_services_never_answer_each_other(tmp_path: Path, server: Server, client: "redis.Redis") -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    with (
        serving(tmp_path / "a", server.port, "--redis-in", "a_in", "--redis-out", "b_in"),
        serving(tmp_path / "b", server.port, "--redis-in", "b_in", "--redis-out", "a_in"),
        published(client, "*_in") as pubsub,
    ):
        client.publish("a_in", request(id="x", reply_to="b_in"))
        client.publish("a_in", "no request")
        client.publish("b_in", request(id="y", reply_to="b_in"))
        client.publish("b_in", '{"reply_to": "a_in"')

        assert len(messages_on(pubsub, 2)) == 8


def test_a_service_that_is_subscribed_to_every_channel_answers_requests_only(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    with serving(tmp_path, server.port, "--redis-in", "*"), published(client, "*") as pubsub:
        client.publish("somewhere", request(id="x", reply_to="elsewhere"))

        assert len(messages_on(pubsub, 2)) == 2


def test_what_is_too_large_is_refused_over_redis_too(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    limits = ("--max-prompt-bytes", 1000, "--max-image-bytes", 10_000)
    with serving(tmp_path, server.port, *limits) as service, published(client, "me") as pubsub:
        for spoiled in (
            {"prompt": {**BOX, "label": "x" * 1000}},
            {"prompt": [[1, 1]] * 50_000},
            {"image": "A" * 20_000},
            {"image": "A" * 2_000_000},
        ):
            client.publish("sam_in", request(reply_to="me", **{"id": "a", **spoiled}))
        errors = [json.loads(reply)["meta"]["error"] for reply in messages_on(pubsub, 2)]
        client.publish("sam_in", request(reply_to="me"))
        assert "error" not in next_reply(pubsub)["meta"]
        assert service.end() == 0

    too_large = ["--max-prompt-bytes"] * 2 + ["--max-image-bytes"] * 2
    assert [limit in error for limit, error in zip(too_large, errors, strict=True)] == [True] * 4
