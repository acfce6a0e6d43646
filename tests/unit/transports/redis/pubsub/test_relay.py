"""The process that reads a subscription: its backlog, its end, and connections of each kind over it."""

import errno
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest
import redis
import trustme
from support.process import children_of, environment, is_running, until
from support.redis_servers import VALKEY, Server, proxy_to, running_server

from sampoll.transports.redis.connection import RedisServer
from sampoll.transports.redis.pubsub import relay as relay_module
from sampoll.transports.redis.pubsub import subscription as subscription_module
from sampoll.transports.redis.pubsub.relay import Backlog, Flood
from sampoll.transports.redis.pubsub.relayed import BacklogBounds, relayed_client
from sampoll.transports.redis.pubsub.subscription import Subscription

MEGABYTE = 2**20
BOUNDS = BacklogBounds(memory_bytes=MEGABYTE, disk_bytes=4 * MEGABYTE)


# The backlog


def removed(backlog: Backlog, at_most: int) -> bytes:
    content = bytes(backlog.first()[:at_most])
    backlog.remove(len(content))
    return content


def test_a_backlog_keeps_the_order_of_all_bytes_in_memory_and_on_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "PIECE_BYTES", 300)
    seeded = random.Random(0)
    backlog = Backlog(memory_bytes=3000, disk_bytes=7000)
    added, taken, most = bytearray(), bytearray(), 0
    for _ in range(20_000):
        is_filling = len(added) // 100_000 % 2 == 0
        if backlog.has_room() and seeded.random() < (0.7 if is_filling else 0.3):
            piece = seeded.randbytes(seeded.randrange(1, 900))
            added += piece
            backlog.add(memoryview(piece))
        else:
            taken += removed(backlog, seeded.randrange(1, 900))
        most = max(most, len(added) - len(taken))
    while backlog:
        taken += removed(backlog, 900)

    assert taken == added
    assert len(added) > 20 * 7000  # the file's end has met its beginning many times
    assert 7000 < most < 3000 + 7000 + 3 * (300 + 900)


def test_a_backlog_on_a_disk_that_is_full_loses_nothing_and_stays_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    backlog, pieces = Backlog(memory_bytes=3000, disk_bytes=7000), [bytes([n]) * 1000 for n in range(20)]
    content = b"".join(pieces)
    monkeypatch.setattr(relay_module, "PIECE_BYTES", 1000)
    waiting = iter(pieces)

    def fill() -> None:
        while backlog.has_room() and (piece := next(waiting, None)) is not None:
            backlog.add(memoryview(piece))

    for _ in range(4):
        backlog.add(memoryview(next(waiting)))
        assert backlog.has_room()
    monkeypatch.setattr("os.pwrite", full)
    fill()
    assert not backlog.has_room()
    taken = removed(backlog, 2500)
    monkeypatch.undo()
    while backlog:
        fill()
        taken += removed(backlog, 700)

    assert taken == content


# The process


@contextmanager
def relaying(
    bounds: BacklogBounds = BOUNDS,
) -> Iterator[tuple[socket.socket, socket.socket, "subprocess.Popen[bytes]"]]:
    """The process between two sockets: that of the server, and that of the subscriber."""
    server, its_server = socket.socketpair()
    subscriber, its_subscriber = socket.socketpair()
    sizes = (str(bounds.memory_bytes), str(bounds.disk_bytes))
    command = [sys.executable, "-S", relay_module.__file__, *sizes]
    with server, subscriber, its_server, its_subscriber:
        process = subprocess.Popen(command, stdin=its_server.fileno(), stdout=its_subscriber.fileno())
        try:
            its_server.close()
            its_subscriber.close()
            server.settimeout(30)
            subscriber.settimeout(30)
            yield server, subscriber, process
        finally:
            process.kill()
            process.wait()


def read_to_the_end(subscriber: socket.socket) -> Iterator[bytes]:
    while content := subscriber.recv(MEGABYTE):
        yield content


def test_during_a_flood_nothing_but_reading_is_done() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    flood = Flood(lambda: now[0], sleep)

    flood.wait_for_calm()
    flood.add(2 * 2**20)
    flood.wait_for_calm()
    assert now[0] == 0.0  # a large message is no flood

    for _ in range(10):
        flood.add(2 * 2**20)
    flood.wait_for_calm()
    assert 0.1 < now[0] < 0.2

    for _ in range(10_000):
        flood.add(2 * 2**20)
    before = now[0]
    flood.wait_for_calm()
    assert now[0] - before == pytest.approx(1.0, abs=0.01)  # but not for ever
    flood.wait_for_calm()
    assert now[0] - before == pytest.approx(1.0, abs=0.01)

    flood.end()
    for _ in range(10):
        flood.add(2 * 2**20)
    before = now[0]
    flood.wait_for_calm()
    assert 0.1 < now[0] - before < 0.2  # the next one counts again


def test_bytes_pass_in_both_directions() -> None:
    with relaying() as (server, subscriber, _):
        subscriber.sendall(b"command")
        assert server.recv(100) == b"command"
        server.sendall(b"answer")
        assert subscriber.recv(100) == b"answer"


@contextmanager
def relaying_here() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The other ends of the server and of the subscriber, of a relay in a thread."""
    server, its_server = socket.socketpair()
    subscriber, its_subscriber = socket.socketpair()
    relay = relay_module.Relay(its_server, its_subscriber, Backlog(64 * MEGABYTE, MEGABYTE))
    thread = Thread(target=relay.run)
    with server, subscriber, its_server, its_subscriber:
        thread.start()
        try:
            yield server, subscriber
        finally:
            subscriber.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join()


def test_a_flood_is_passed_on_when_the_server_is_silent_or_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module.Flood, "is_on", lambda self: self._level > 0)
    with relaying_here() as (server, subscriber):
        server.sendall(b"flood")
        subscriber.settimeout(30)
        assert subscriber.recv(100) == b"flood"

    monkeypatch.setattr(relay_module, "SILENCE_SECONDS", 60)
    with relaying_here() as (server, subscriber):
        server.sendall(b"flood")
        subscriber.settimeout(0.2)
        with pytest.raises(TimeoutError):
            subscriber.recv(100)
        server.sendall(b", and its end")
        server.close()
        subscriber.settimeout(30)
        assert subscriber.recv(100) == b"flood, and its end"


def test_a_server_that_never_stops_sending_starves_no_subscriber() -> None:
    with relaying() as (server, subscriber, _):
        stop = Event()

        def send() -> None:
            piece = bytes(MEGABYTE)
            server.settimeout(1)
            while not stop.is_set():
                with suppress(TimeoutError):
                    server.send(piece)

        sender = Thread(target=send)
        sender.start()
        try:
            received = 0
            while received < 64 * MEGABYTE:
                received += len(subscriber.recv(MEGABYTE))
        finally:
            stop.set()
            sender.join()


def test_what_nobody_reads_is_bounded_in_memory_and_on_disk_and_comes_later() -> None:
    bounds = BacklogBounds(memory_bytes=8 * MEGABYTE, disk_bytes=64 * MEGABYTE)
    with relaying(bounds) as (server, subscriber, process):
        sent, digest = 0, hashlib.sha256()
        piece = random.Random(0).randbytes(MEGABYTE - 1)
        server.settimeout(0.5)
        try:
            while True:
                count = server.send(piece)
                digest.update(piece[:count])
                sent += count
        except TimeoutError:
            pass
        resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        server.close()

        received = hashlib.sha256()
        for content in read_to_the_end(subscriber):
            received.update(content)

        assert process.wait(30) == 0
    assert 64 * MEGABYTE < sent < 90 * MEGABYTE
    assert resident < 60 * MEGABYTE
    assert received.digest() == digest.digest()


def test_no_signal_that_stops_a_service_ends_it_and_the_end_of_its_subscriber_does(server: Server) -> None:
    with relayed_client(RedisServer(port=server.port), BOUNDS) as client, client.pubsub() as pubsub:
        pubsub.psubscribe("a")
        [pid] = relays()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            os.kill(pid, number)
        assert pubsub.get_message(timeout=10)["type"] == "psubscribe"
        with server.client() as publisher:
            publisher.publish("a", "message")
        assert pubsub.get_message(timeout=10)["data"] == b"message"

    assert relays() == []


def relays(pid: int | None = None) -> list[int]:
    """The relays that a process, this one by default, has started, and its zombies of any kind."""
    commands = {
        child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children_of(pid or os.getpid())
    }
    return [child for child, command in commands.items() if not command or b"relay.py" in command]


SUBSCRIBER = """
import sys, threading
from sampoll.transports.redis.connection import RedisServer
from sampoll.transports.redis.pubsub.relayed import BacklogBounds
from sampoll.transports.redis.pubsub.subscription import Subscription

def receive(channel, message):
    threading.Event().wait()  # for ever

server = RedisServer(port=int(sys.argv[1]))
Subscription(server, "killed", receive, backlog=BacklogBounds(10**6, 10**6)).run(threading.Event())
"""


def test_it_ends_with_a_service_that_is_killed_even_if_messages_wait(
    server: Server, client: "redis.Redis"
) -> None:
    service = subprocess.Popen([sys.executable, "-c", SUBSCRIBER, str(server.port)], env=environment())
    try:
        until(lambda: client.pubsub_numpat() == 1, "the subscription")
        [pid] = relays(service.pid)
        for _ in range(5):
            client.publish("killed", bytes(10**6))
    finally:
        service.kill()
        service.wait()

    until(lambda: not is_running(pid), "the process to end")
    until(lambda: client.pubsub_numpat() == 0, "the end of the subscription")


# Subscriptions


@contextmanager
def subscribed(server: RedisServer, pattern: str = "a*") -> Iterator[tuple[Subscription, list[bytes]]]:
    received: list[bytes] = []
    subscription = Subscription(server, pattern, lambda _, message: received.append(message), backlog=BOUNDS)
    stop = Event()
    thread = Thread(target=subscription.run, args=(stop,))
    thread.start()
    try:
        assert subscription.is_up.wait(10)
        yield subscription, received
    finally:
        stop.set()
        thread.join()
        assert relays() == []


def test_its_death_is_a_gap_and_another_one_takes_its_place(
    server: Server, client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    with subscribed(RedisServer(port=server.port)) as (subscription, received):
        [first] = relays()
        client.publish("a", "before")
        until(lambda: received, "a message")
        os.kill(first, signal.SIGKILL)
        until(lambda: subscription.gaps.count == 1, "the new subscription")
        client.publish("ab", "after")
        until(lambda: len(received) == 2, "the next message")
        [second] = relays()

    assert second != first
    assert received == [b"before", b"after"]
    assert "no subscription to" in caplog.text
    assert "what was published in the last" in caplog.text


def test_what_waits_at_the_end_of_a_subscription_is_still_received_however_long_it_takes(
    server: Server, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_module, "LEAVE_SECONDS", 0.4)
    received: list[bytes] = []
    stop, goes_on = Event(), Event()

    def receive(_: bytes, message: bytes) -> None:
        goes_on.wait()
        time.sleep(0.05)
        received.append(message)

    subscription = Subscription(RedisServer(port=server.port), "a", receive, backlog=BOUNDS)
    thread = Thread(target=subscription.run, args=(stop,))
    thread.start()
    assert subscription.is_up.wait(10)
    for _ in range(20):
        client.publish("a", bytes(10**5))
    stop.set()
    goes_on.set()
    thread.join(30)

    assert received == [bytes(10**5)] * 20


def test_a_connection_that_breaks_while_a_subscription_ends_is_logged(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(subscription_module, "LEAVE_SECONDS", 0.2)
    with (
        proxy_to(server.port) as proxy,
        subscribed(RedisServer(port=proxy.port), "last"),
    ):
        proxy.stall()

    assert f"what was published last to last on redis://localhost:{proxy.port}/0 may be lost" in caplog.text


def test_a_subscription_over_a_unix_socket_with_a_password_is_relayed(tmp_path: Path) -> None:
    path = tmp_path / "server"
    with running_server(VALKEY, "--unixsocket", str(path)) as server, server.client() as client:
        client.config_set("requirepass", "open-sesame")
        with subscribed(RedisServer(f"unix://:open-sesame@{path}")) as (_, received):
            assert len(relays()) == 1
            client.publish("a", bytes(3 * MEGABYTE))
            until(lambda: received, "the message")

    assert received == [bytes(3 * MEGABYTE)]


def test_a_subscription_over_tls_is_relayed_as_it_comes(
    tmp_path: Path, server: Server, client: "redis.Redis"
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    with proxy_to(server.port, (tmp_path / "cert.pem", tmp_path / "key.pem")) as proxy:
        url = f"rediss://localhost:{proxy.port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"
        with subscribed(RedisServer(url)) as (subscription, received):
            client.publish("a", bytes(3 * MEGABYTE))
            until(lambda: received, "the message")

    assert received == [bytes(3 * MEGABYTE)]
    assert subscription.gaps.count == 0
