"""The bodies of requests and answers: the memory and the time that they may take."""

import socket
import urllib.request
from threading import Event

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sampoll.monitoring.server import serving
from sampoll.transports.http import body
from sampoll.transports.http.body import Gone, Room, send_paced
from sampoll.transports.http.refusals import Refusal

LARGE = bytes(50_000_000)
"""More than the buffers of a connection take."""


def test_a_request_has_its_share_of_the_memory_until_its_end() -> None:
    room = Room(100)
    with room.share() as first:
        first.take(1000)  # one of any size
        with room.share() as second:
            with pytest.raises(Refusal, match="requests of 1000 bytes are in progress"):
                second.take(1)
            first.keep(60)
            second.take(40)
            first.keep(80)  # its answer
        assert room.held_bytes == 80
    assert room.held_bytes == 0


def test_a_client_that_does_not_read_its_answer_is_cut_off_and_its_memory_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(body, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(body, "LEAST_BYTES_PER_SECOND", 10**9)
    room, gone = Room(1), Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        with room.share() as memory:
            memory.keep(len(LARGE))
            try:
                await send_paced(Response(LARGE), send)
            except Gone:
                gone.set()

    with (
        serving("127.0.0.1", 0, application) as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert gone.wait(30)
        received = 0
        while part := client.recv(10**6):
            received += len(part)
    assert received < len(LARGE)
    assert room.held_bytes == 0


def test_a_large_answer_arrives_whole() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send_paced(Response(LARGE), send)

    with serving("127.0.0.1", 0, application) as url, urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == LARGE
