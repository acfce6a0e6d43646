"""`sampoll serve redis` with servers that are killed, load, or are full, and with a network that stalls."""

import os
from pathlib import Path

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
