"""A bucket on loopback, whose server can be told to behave as badly as stores do."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from socket import SHUT_RDWR, socket
from threading import Lock, Thread
from typing import Any

BUCKET = "bucket"
SECRET = "topsecretkey"
SLOW_SECONDS = 0.2
UNAVAILABLE = ("503 Service Unavailable", "ServiceUnavailable")
SLOW_DOWN = ("503 Slow Down", "SlowDown")
FORBIDDEN = ("403 Forbidden", "AccessDenied")


@dataclass
class Faults:
    """What the server does instead of answering: `choose` names it for a request, given its number, its
    method and its path; "" for nothing."""

    choose: Callable[[int, str, str], str] = lambda number, method, path: ""
    happened: list[str] = field(default_factory=list)
    requests: int = 0


class _Server:
    """Moto's application behind the faults. Requests of boto3, the tests' own, are always answered."""

    def __init__(self, application: Any, faults: Faults) -> None:
        self._application = application
        self._faults = faults
        self._lock = Lock()

    def __call__(self, environ: Mapping[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("HTTP_USER_AGENT", "").startswith("Boto3"):
            return self._application(environ, start_response)  # type: ignore[no-any-return]
        with self._lock:
            number = self._faults.requests
            self._faults.requests += 1
        fault = self._faults.choose(number, environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if fault:
            self._faults.happened.append(fault)
        match fault:
            case "unavailable":
                return _refused(environ, start_response, *UNAVAILABLE)
            case "throttled":
                return _refused(environ, start_response, *SLOW_DOWN)
            case "forbidden":
                return _refused(environ, start_response, *FORBIDDEN)
            case "slow":
                time.sleep(SLOW_SECONDS)
            case "cut":
                return _cut(self._application(environ, start_response), environ["werkzeug.socket"])
            case "lost":  # it is done, and the answer does not come
                list(self._application(environ, lambda *_: None))
                return _cut((), environ["werkzeug.socket"])
        return self._application(environ, start_response)  # type: ignore[no-any-return]


def _refused(environ: Mapping[str, Any], start_response: Any, status: str, code: str) -> Iterable[bytes]:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response(status, [("Content-Type", "application/xml"), ("Connection", "close")])
    return [f"<Error><Code>{code}</Code><Message>A fault of the test</Message></Error>".encode()]


def _cut(body: Iterable[bytes], connection: socket) -> Iterator[bytes]:
    """Half of an answer, if there is one, before the connection ends."""
    content = b"".join(body)
    if content:
        yield content[: len(content) // 2]
    connection.shutdown(SHUT_RDWR)
    raise ConnectionAbortedError("a fault of the test")


@dataclass
class Bucket:
    """An empty bucket; `env` are the variables by which programs find it."""

    env: Mapping[str, str]
    client: Any
    faults: Faults

    def address(self, folder: str) -> str:
        return f"s3://{BUCKET}/{folder}"

    def put(self, path: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=path, Body=content)

    def get(self, path: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=path)["Body"].read()
        return content

    def names(self, folder: str) -> list[str]:
        """The paths of the objects below a folder, relative to it."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{folder}/")
        keys = (each["Key"] for page in pages for each in page.get("Contents", ()))
        return sorted(key.removeprefix(f"{folder}/") for key in keys)

    def clear(self) -> None:
        for folder in ("in", "out"):
            keys = [{"Key": f"{folder}/{name}"} for name in self.names(folder)]
            for start in range(0, len(keys), 1000):
                self.client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys[start : start + 1000]})
        self.faults.choose = lambda number, method, path: ""
        self.faults.happened.clear()


@contextmanager
def s3_bucket() -> Iterator[Bucket]:
    """A server with one bucket, which ends with the block."""
    import boto3
    from botocore.config import Config
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):  # type: ignore[misc]
        protocol_version = "HTTP/1.1"

        def log(self, type: str, message: str, *args: Any) -> None:
            logging.getLogger(__name__).debug(message, *args)

    faults = Faults()
    application = _Server(DomainDispatcherApplication(create_backend_app), faults)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    env = {
        "AWS_ACCESS_KEY_ID": "testkey",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
    }
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="testkey",
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(proxies={}),
    )
    client.create_bucket(Bucket=BUCKET)
    try:
        yield Bucket(env, client, faults)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        client.close()
