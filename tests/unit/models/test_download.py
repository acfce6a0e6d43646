"""Downloads from a server that disconnects, sends wrong content and stalls."""

import base64
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

from sampoll.config.settings.model import ModelSettings
from sampoll.config.settings.values import SecretAddress
from sampoll.core.errors import Interrupted, ModelUnavailable, StorageTrouble
from sampoll.models import download as downloading
from sampoll.models.checkpoints import Checkpoint, is_official
from sampoll.models.checkpoints import fetch as fetch_checkpoint
from sampoll.models.download import CHUNK_BYTES, Download, download

CONTENT = np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


Behaviour: TypeAlias = Callable[["Handler", int, int], bool]
"""What a server does with a request, given its number and where it begins; False for what it should do."""
Serve: TypeAlias = Callable[[Behaviour], "Server"]


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `behave` may do something else with the n-th request, counted from 0."""

    def __init__(self, behave: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave = behave
        self.ranges: list[str | None] = []
        self.logins: list[str | None] = []
        self.announces_its_size = True

    @property
    def wanted(self) -> Download:
        return Download(f"http://127.0.0.1:{self.server_port}/weights.pth", len(CONTENT), SHA256)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        given = self.headers["Range"]
        number = len(self.server.ranges)
        self.server.ranges.append(given)
        self.server.logins.append(self.headers["Authorization"])
        found = re.fullmatch(r"bytes=(\d+)-", given or "")
        start = int(found[1]) if found else 0
        if not self.server.behave(self, number, start):
            self.send(206, CONTENT[start:], f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")

    def send(self, status: int, content: bytes, content_range: str = "", length: int | None = None) -> None:
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.send_response(200)
        if self.server.announces_its_size:
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()

    def part(self, start: int, end: int) -> None:
        """Announces the whole rest, and sends less."""
        whole = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        self.send(206, CONTENT[start:end], whole, len(CONTENT) - start)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def honest(handler: Handler, number: int, start: int) -> bool:
    return False


@pytest.fixture
def serve(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Serve]:
    monkeypatch.setattr(downloading, "MAX_PAUSE_SECONDS", 0.01)
    servers: list[Server] = []

    def started(behave: Behaviour) -> Server:
        server = Server(behave)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


def fetch(server: Server, path: Path, stalled_seconds: float = 5.0) -> None:
    download(server.wanted, path, stalled_seconds=stalled_seconds)


def test_a_file_arrives_whole_and_nothing_else_is_left(serve: Serve, tmp_path: Path) -> None:
    fetch(serve(honest), tmp_path / "new" / "weights.pth")

    assert (tmp_path / "new" / "weights.pth").read_bytes() == CONTENT
    assert [p.name for p in (tmp_path / "new").iterdir() if not p.name.startswith(".")] == ["weights.pth"]


def test_after_a_broken_connection_the_download_is_resumed(serve: Serve, tmp_path: Path) -> None:
    def breaks_off(handler: Handler, number: int, start: int) -> bool:
        if number < 3:
            handler.part(start, start + 7 * CHUNK_BYTES)
        return number < 3

    server = serve(breaks_off)
    fetch(server, tmp_path / "weights.pth")

    assert server.ranges == [f"bytes={7 * CHUNK_BYTES * n}-" for n in range(4)]
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_a_request_to_a_server_that_stalls_is_repeated(serve: Serve, tmp_path: Path) -> None:
    def stalls(handler: Handler, number: int, start: int) -> bool:
        if number == 0:
            handler.part(start, 1_000_000)
            handler.wfile.flush()
            time.sleep(2)
        return number == 0

    server = serve(stalls)
    fetch(server, tmp_path / "weights.pth", stalled_seconds=0.2)

    assert len(server.ranges) == 2
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_a_server_that_sends_no_more_is_given_up_and_the_part_is_kept(serve: Serve, tmp_path: Path) -> None:
    def dries_up(handler: Handler, number: int, start: int) -> bool:
        handler.part(start, 10 * CHUNK_BYTES)
        return True

    with pytest.raises(ModelUnavailable, match="655360 of 3000000 bytes are kept"):
        fetch(serve(dries_up), tmp_path / "weights.pth")
    assert not (tmp_path / "weights.pth").exists()

    later = serve(honest)
    fetch(later, tmp_path / "weights.pth")
    assert later.ranges == ["bytes=655360-"]
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_a_request_is_repeated_after_a_server_error_and_not_after_a_refusal(
    serve: Serve, tmp_path: Path
) -> None:
    def troubled(handler: Handler, number: int, start: int) -> bool:
        if number < 2:
            handler.send(503, b"later")
        return number < 2

    def refusing(handler: Handler, number: int, start: int) -> bool:
        handler.send(404, b"no")
        return True

    fetch(serve(troubled), tmp_path / "weights.pth")
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT

    server = serve(refusing)
    with pytest.raises(ModelUnavailable, match="answers 404 Not Found: correct --mirror"):
        fetch(server, tmp_path / "other.pth")
    assert len(server.ranges) == 1


def test_without_range_support_the_download_begins_again(serve: Serve, tmp_path: Path) -> None:
    def without_ranges(handler: Handler, number: int, start: int) -> bool:
        if number == 0:
            handler.part(0, 500_000)
        else:
            handler.send(200, CONTENT)
        return True

    fetch(serve(without_ranges), tmp_path / "weights.pth")

    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


OTHER = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (lambda h, start: h.send(200, OTHER), "of the right size with another sha256: it was deleted"),
        (lambda h, start: h.send(200, CONTENT[:99]), "has another file: 99 bytes, not 3000000"),
        (
            lambda h, start: h.send(206, CONTENT[:9], "bytes 0-8/9"),
            "has another file: it offers 'bytes 0-8/9'",
        ),
        (lambda h, start: _endless(h), "has another file: more than 3000000 bytes"),
    ],
    ids=["another content", "a shorter file", "another range", "no end"],
)
def test_wrong_content_leaves_no_file(
    serve: Serve, tmp_path: Path, lie: Callable[[Handler, int], None], message: str
) -> None:
    def send_wrong_content(handler: Handler, number: int, start: int) -> bool:
        lie(handler, start)
        return True

    with pytest.raises(ModelUnavailable, match=re.escape(message)):
        fetch(serve(send_wrong_content), tmp_path / "weights.pth")

    assert not (tmp_path / "weights.pth").exists()
    fetch(serve(honest), tmp_path / "weights.pth")
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def _endless(handler: Handler) -> None:
    """Without a length, and longer than it should be."""
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(8):
            handler.wfile.write(CONTENT)
    except OSError:  # the client has had enough
        pass
    handler.close_connection = True


def test_a_server_that_cannot_be_reached_is_an_error_after_a_few_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "MAX_PAUSE_SECONDS", 0.01)
    wanted = Download("http://127.0.0.1:9/weights.pth", len(CONTENT), SHA256)

    with pytest.raises(ModelUnavailable, match="0 of 3000000 bytes are kept"):
        download(wanted, tmp_path / "weights.pth")


def test_two_downloads_of_one_file_do_not_mix(serve: Serve, tmp_path: Path) -> None:
    def slow(handler: Handler, number: int, start: int) -> bool:
        time.sleep(0.5)
        return False

    server = serve(slow)
    first = threading.Thread(target=fetch, args=(server, tmp_path / "weights.pth"))
    first.start()
    while not server.ranges:
        time.sleep(0.01)

    with pytest.raises(Interrupted, match=r"another process downloads weights\.pth"):
        fetch(server, tmp_path / "weights.pth")

    first.join()
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_a_file_that_another_process_has_just_downloaded_is_not_downloaded_again(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(honest)
    fetch(server, tmp_path / "weights.pth")

    fetch(server, tmp_path / "weights.pth")

    assert len(server.ranges) == 1


def test_without_free_space_no_download_begins(tmp_path: Path) -> None:
    wanted = Download("http://127.0.0.1:9/weights.pth", 2**60, SHA256)

    with pytest.raises(StorageTrouble, match="make room, or set another --home"):
        download(wanted, tmp_path / "weights.pth")


def test_proxies_of_the_environment_are_used(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(honest)  # a proxy gets the whole URL, and this one answers whatever it is asked
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.setenv("no_proxy", "")
    wanted = Download("http://weights.invalid/weights.pth", len(CONTENT), SHA256)

    download(wanted, tmp_path / "weights.pth")

    assert len(proxy.ranges) == 1
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def pull(path: Path, mirror: str, size: int | None = len(CONTENT), sha256: str = SHA256) -> None:
    """Fetches CONTENT as if it were an official checkpoint."""
    official = Checkpoint("vit_x", "weights.pth", "https://nowhere", size, sha256)
    fetch_checkpoint(official, ModelSettings(mirror=SecretAddress(mirror)).mirror, path)


def test_the_login_of_a_mirror_is_sent_and_shown_nowhere(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def troubled(handler: Handler, number: int, start: int) -> bool:
        handler.send(500, b"")
        return True

    server, broken = serve(honest), serve(troubled)
    address = f"http://me%40here:h%2Fush@127.0.0.1:{server.server_port}/"

    pull(tmp_path / "weights.pth", address)
    with caplog.at_level("INFO"), pytest.raises(ModelUnavailable, match="500 Server Error") as failure:
        pull(tmp_path / "other.pth", address.replace(str(server.server_port), str(broken.server_port)))

    assert server.logins == ["Basic " + base64.b64encode(b"me@here:h/ush").decode()]
    assert "ush" not in f"{failure.value} {caplog.text}"


@pytest.mark.parametrize(
    "proxy", ["http://me:hush/hush@host", "http://me:hush[@host", "odd://me:hush@host:1"]
)
def test_a_proxy_that_cannot_be_parsed_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    wanted = Download("http://192.0.2.1/weights.pth", len(CONTENT), SHA256)

    with pytest.raises(ModelUnavailable, match="the proxy that HTTPS_PROXY") as failure:
        download(wanted, tmp_path / "weights.pth")

    assert "hush" not in str(failure.value)


@pytest.mark.parametrize("name", [".weights.pth.lock", "weights.pth.part"])
def test_a_link_that_another_user_has_put_there_is_not_followed(
    serve: Serve, tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "thesis.txt"
    victim.write_bytes(b"my thesis")
    (tmp_path / name).symlink_to(victim)

    with pytest.raises(StorageTrouble, match=re.escape(name)):
        fetch(serve(honest), tmp_path / "weights.pth")

    assert victim.read_bytes() == b"my thesis"


def test_what_comes_under_the_name_during_a_download_is_kept(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"

    def puts_one_there(handler: Handler, number: int, start: int) -> bool:
        path.write_bytes(b"somebody else's")
        return False

    with pytest.raises(StorageTrouble, match="was created during the download"):
        fetch(serve(puts_one_there), path)

    assert path.read_bytes() == b"somebody else's"


def test_a_checkpoint_of_unknown_size_is_known_by_its_digest_alone(serve: Serve, tmp_path: Path) -> None:
    server = serve(honest)
    mirror = f"http://127.0.0.1:{server.server_port}/"

    pull(tmp_path / "weights.pth", mirror, size=None)
    with pytest.raises(ModelUnavailable, match="with another sha256: it was deleted"):
        pull(tmp_path / "other.pth", mirror, size=None, sha256="0" * 64)

    assert is_official(tmp_path / "weights.pth", Checkpoint("vit_x", "weights.pth", "", None, SHA256))
    assert not is_official(tmp_path / "weights.pth", Checkpoint("vit_x", "weights.pth", "", None, "0" * 64))
    assert not (tmp_path / "other.pth").exists()


def test_a_server_that_does_not_announce_an_unknown_size_is_not_asked_for_the_file(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(honest)
    server.announces_its_size = False
    mirror = f"http://127.0.0.1:{server.server_port}/"

    with pytest.raises(ModelUnavailable, match="does not say how large the file is: use another --mirror"):
        pull(tmp_path / "weights.pth", mirror, size=None)

    assert server.ranges == []
    with pytest.raises(ModelUnavailable, match="try again, or correct --mirror"):
        pull(tmp_path / "weights.pth", "http://127.0.0.1:9/", size=None)
