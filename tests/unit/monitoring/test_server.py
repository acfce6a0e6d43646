"""The HTTP server: what clients cannot do to it, and how it ends."""

import asyncio
import logging
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from sampoll.core.errors import ConfigurationError
from sampoll.monitoring import server
from sampoll.monitoring.server import Receive, Scope, Send, serving

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Waiting:
    """An application whose answers, except that of /healthz, wait until `go` is set."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bug":
            raise ZeroDivisionError
        if scope["path"] != "/healthz":
            self.begun.set()
            while not self.go.is_set():
                await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"well"})


@contextmanager
def connected(url: str, sent: bytes = b"") -> Iterator[socket.socket]:
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(sent)
        yield connection


def content_at(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        content: bytes = answer.read()
    return content


def test_slow_and_silent_clients_hold_up_nobody() -> None:
    half_requests = (
        b"",
        b"GET / HTTP/1.1\r\nHo",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{",
    )
    application = Waiting()
    with serving("127.0.0.1", 0, application) as url, ExitStack() as clients:
        clients.callback(application.go.set)
        for number in range(200):
            clients.enter_context(connected(url, half_requests[number % 3]))
        began = time.monotonic()

        assert content_at(f"{url}/healthz") == b"well"

        assert time.monotonic() - began < 1


def test_a_client_that_does_not_finish_its_header_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 1)
    with serving("127.0.0.1", 0, Waiting()) as url:
        for half in (b"", b"GET / HTTP/1.1\r\nHost: a"):
            with connected(url, half) as client:
                assert client.recv(100) == b""


def test_a_header_beyond_the_limit_is_refused() -> None:
    with serving("127.0.0.1", 0, Waiting()) as url:
        for size, status in ((server.HEADER_BYTES + 1, b"431"), (server.HEADER_BYTES // 2, b"200")):
            request = GET.replace(b"/", b"/healthz", 1).replace(
                b"\r\n\r\n", b"\r\nX: " + b"x" * size + b"\r\n\r\n"
            )
            with connected(url, request) as client:
                assert client.recv(1000).split()[1] == status


def test_a_port_of_another_server_is_refused_and_one_of_the_system_is_told() -> None:
    with serving("localhost", 0, Waiting()) as url:
        port = int(url.removeprefix("http://localhost:"))
        with (
            pytest.raises(ConfigurationError, match=rf"--bind 127\.0\.0\.1:{port} cannot be used: "),
            serving("127.0.0.1", port, Waiting(), "--bind"),
        ):
            pass
    with serving("127.0.0.1", port, Waiting()) as url:
        assert content_at(f"{url}/healthz") == b"well"


def test_an_answer_that_has_begun_is_finished_and_no_other_is_begun() -> None:
    application, server = Waiting(), ExitStack()
    url = server.enter_context(serving("127.0.0.1", 0, application))
    with connected(url, GET) as client:
        assert application.begun.wait(10)
        stopping = threading.Thread(target=server.close)
        stopping.start()
        application.go.set()
        assert client.recv(1000).endswith(b"well")
        stopping.join(10)
    with pytest.raises(OSError, match="refused"), connected(url):
        pass


def test_a_bug_is_one_answer_and_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    before = list(logging.getLogger().handlers)
    with serving("127.0.0.1", 0, Waiting()) as url, connected(url, GET.replace(b"/", b"/bug", 1)) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 500 ")
        assert content_at(f"{url}/healthz") == b"well"
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    own = [record.getMessage() for record in errors if record.name == server.__name__]
    assert own == ["a request to /bug failed"]
    assert logging.getLogger().handlers == before


def test_its_threads_have_ended_with_it_as_far_as_they_do_so_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    application = Waiting()
    waited: list[float] = []
    monkeypatch.setattr(server, "_native_threads", lambda: {"1", "2"} if waited else {"1", "2", "3"})
    monkeypatch.setattr(time, "sleep", waited.append)
    server._wait_for_end_of_threads({"1", "2"})
    monkeypatch.undo()
    before = server._native_threads()
    for _ in range(3):
        with serving("127.0.0.1", 0, application) as url:
            urllib.request.urlopen(f"{url}/healthz", timeout=10).close()

    assert len(waited) == 1
    assert server._native_threads() <= before | {str(each.native_id) for each in threading.enumerate()}
