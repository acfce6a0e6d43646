"""Clients of `serve http` that are many, slow, gone or hostile, and a service that is told to stop."""

import json
import random
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.http_serving import IMAGE, segment, served, serving_http
from support.images import encoded, image_of
from support.process import until

from sampoll.core.events import BatchStarted, Event, JobStarted
from sampoll.transports.http import body

POISON = {"image": ("poison.png", encoded(image_of(height=13)))}


def events_in(events: list[Event], kind: type[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def in_background(pool: ThreadPoolExecutor, client: httpx.Client, **more: Any) -> Any:
    return pool.submit(lambda: segment(client, **more))


def test_requests_of_several_clients_are_one_batch(gate: tuple[Path, Path]) -> None:
    started, go = gate
    events: list[Event] = []
    with served(model="waiting", batch_size=8, emit=events.append) as client, ThreadPoolExecutor() as pool:
        first = in_background(pool, client, files=POISON, data={"prompt": '{"everything": {}}'})
        until(started.exists, "the first batch")
        answers = [in_background(pool, client) for _ in range(4)]
        until(lambda: len(events_in(events, JobStarted)) == 5, "the other requests")
        go.touch()
        assert {answer.result().status_code for answer in (first, *answers)} == {200}
    assert [len(batch.job_ids) for batch in events_in(events, BatchStarted)] == [1, 4]


def test_a_client_that_goes_away_costs_nothing(gate: tuple[Path, Path]) -> None:
    started, go = gate
    events: list[Event] = []
    with (
        served(model="waiting", batch_size=1, emit=events.append) as client,
        ThreadPoolExecutor() as pool,
    ):
        first = in_background(pool, client, files=POISON, data={"prompt": '{"everything": {}}'})
        until(started.exists, "the first batch")
        busy = [in_background(pool, client) for _ in range(3)]  # what the service takes in advance
        until(lambda: len(events_in(events, JobStarted)) >= 2, "requests in advance")
        gone = 0
        for number in range(30):
            with pytest.raises(httpx.ReadTimeout):
                segment(client, headers={"X-Request-ID": f"gone-{number}"}, timeout=0.05)
            gone += 1
        go.touch()
        assert {answer.result().status_code for answer in (first, *busy)} == {200}
        assert segment(client).status_code == 200
    begun = [event.submission.name for event in events_in(events, JobStarted)]
    assert sum(name.startswith("gone-") for name in begun) < gone / 2


def test_beyond_the_memory_for_requests_they_are_to_come_again(gate: tuple[Path, Path]) -> None:
    started, go = gate
    with (
        served(model="waiting", queue_bytes=3 * len(IMAGE)) as client,
        ThreadPoolExecutor() as pool,
    ):
        first = in_background(pool, client, files=POISON, data={"prompt": '{"everything": {}}'})
        until(started.exists, "the first batch")
        refused = segment(client, files={"image": ("large.jpg", IMAGE + bytes(3 * len(IMAGE)))})
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert "(--queue-bytes)" in refused.json()["message"]
        go.touch()
        assert first.result().status_code == 200
        assert segment(client).status_code == 200  # the memory is free again


def test_a_body_that_comes_too_slowly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "PATIENCE_SECONDS", 0.3)
    header = (
        "POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: 100\r\n\r\n{"
    )
    with served() as client, connected(client) as connection:
        connection.sendall(header.encode())
        answer = connection.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 408 ")
    assert "the body came too slowly" in answer


@contextmanager
def connected(client: httpx.Client) -> Iterator[socket.socket]:
    address = (client.base_url.host, client.base_url.port or 80)
    with socket.create_connection(address, timeout=30) as connection:
        yield connection


def hostile_requests(seed: int, count: int) -> Iterator[bytes]:
    """Requests with something wrong in them, each of its own kind."""
    made = random.Random(seed)
    for _ in range(count):
        form, content_type = _form(made)
        header = [
            made.choice([b"POST", b"GET", b"PUT", b"X" * 99]) if made.random() < 0.2 else b"POST",
            made.choice([*[b"/v1/segment"] * 9, b"/v1/segment/", b"/%00", b"/v1/../segment"]),
            made.choice([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9"]) if made.random() < 0.2 else b"HTTP/1.1",
        ]
        length = len(form) if made.random() < 0.8 else made.choice([0, 1, 10**9, -1, 10**30])
        lines = [
            b" ".join(header),
            b"Host: localhost",
            b"Connection: close",
            b"Content-Type: " + content_type,
            f"Content-Length: {length}".encode(),
            b"Accept: "
            + made.choice([*[b"*/*"] * 9, b"image/png;q=nan", b";;,", b"\xff", b"application/zip"]),
        ]
        yield b"\r\n".join(lines) + b"\r\n\r\n" + form


def _form(made: random.Random) -> tuple[bytes, bytes]:
    """A body, and its type; often damaged."""
    parts = [b'image"; filename="a.jpg', b"prompt", b"image_sha256", b"image", bytes(made.randbytes(5))]
    contents = [IMAGE, b'{"everything": {}}', b"0" * 64, b"{", b"", made.randbytes(200), b"[" * 5000]
    document = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="'
        + name
        + b'"\r\n\r\n'
        + made.choice(contents)
        + b"\r\n"
        for name in made.sample(parts, made.randint(0, 3))
    )
    body = document + b"--x--\r\n"
    kind = b"multipart/form-data; boundary=x"
    if made.random() < 0.3:
        body = json.dumps(
            {made.choice(["image", "prompt", "q"]): made.choice([1, None, "a", [], {}])}
        ).encode()
        kind = b"application/json"
    if made.random() < 0.5:
        damaged = bytearray(body)
        for _ in range(made.randint(1, 8)):
            damaged[made.randrange(len(damaged))] = made.randrange(256)
        body = bytes(damaged[: made.randint(1, len(damaged))])
    return body, made.choice([kind, kind, kind, b"multipart/form-data", b"application/json", b"\x80", b"a/b"])


def test_a_fixed_slice_of_hostile_requests_shows_no_bug(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "PATIENCE_SECONDS", 0.1)
    statuses: Counter[str] = Counter()
    with served() as client:
        for request in hostile_requests(1, 1000):
            with connected(client) as connection:
                connection.sendall(request)
                statuses[connection.recv(4096)[9:12].decode()] += 1
        assert segment(client).status_code == 200
    assert caplog.records == []  # no line of the log for what only its sender can correct
    assert not {"500", "501", "502"} & set(statuses), statuses
    assert {"400", "415", "422"} <= set(statuses), statuses


# A real process


def resident_bytes(pid: int) -> int:
    [pages] = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(pages) * 1024


def ask(client: httpx.Client, number: int) -> tuple[str, int]:
    """Sends one request of a mixed kind; its id as it came back, and the status."""
    made = random.Random(number)
    image = encoded(image_of(seed=number % 50))
    more: dict[str, Any] = {"files": {"image": ("a.png", image)}}
    kind = made.random()
    if kind < 0.1:
        more["data"] = {"prompt": "{}"}
    elif kind < 0.2:
        more["files"] = {"image_sha256": (None, "0" * 64)}
    accept = made.choice(["application/json", "image/png", "application/zip"])
    while True:
        answer = segment(client, headers={"X-Request-ID": f"r-{number}", "Accept": accept}, **more)
        if answer.status_code != 503:
            return answer.headers["X-Request-ID"], answer.status_code
        time.sleep(0.05)


def answered(tmp_path: Path, count: int) -> None:
    with serving_http(tmp_path) as (process, client), ThreadPoolExecutor(64) as pool:
        assert [status for _, status in pool.map(lambda n: ask(client, n), range(64))]
        before = resident_bytes(process.pid)
        answers = list(pool.map(lambda number: ask(client, number), range(count)))
        grown = resident_bytes(process.pid) - before
        assert client.get("/healthz").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert [request_id for request_id, _ in answers] == [f"r-{number}" for number in range(count)]
    assert Counter(status for _, status in answers).keys() == {200, 404, 422}
    assert grown < 64 * 2**20


def test_each_request_of_many_clients_is_answered_once_in_flat_memory(tmp_path: Path) -> None:
    answered(tmp_path, 400)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_ten_thousand_requests_of_many_clients_are_answered_in_flat_memory(tmp_path: Path) -> None:
    answered(tmp_path, 10_000)


@pytest.mark.parametrize("processes", [(), ("--workers", 2)])
def test_what_has_begun_when_the_service_is_stopped_is_finished(
    tmp_path: Path, gate: tuple[Path, Path], processes: tuple[object, ...]
) -> None:
    started, go = gate
    poison: dict[str, Any] = {"files": POISON, "data": {"prompt": '{"everything": {}}'}}
    with (
        serving_http(tmp_path, *processes, "--batch-size", 1, model="waiting") as (process, client),
        ThreadPoolExecutor(64) as pool,
    ):
        begun = in_background(pool, client, **poison)
        until(started.exists, "the request")
        waiting = [in_background(pool, client) for _ in range(8)]
        process.send_signal(signal.SIGTERM)
        until(lambda: client.get("/readyz").status_code == 503, "the stop")
        late = segment(client)
        go.touch()
        assert begun.result().status_code == 200
        assert {answer.result().status_code for answer in waiting} <= {200, 503}
        assert (late.status_code, late.json()["code"]) == (503, "stopped")
        assert process.wait(60) == 0
