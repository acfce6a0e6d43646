"""What `sampoll serve http` serves, in the process of the tests, and requests for it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from sampoll.app.http_engine import HttpEngine
from sampoll.app.in_process import InProcess
from sampoll.app.job_tree import JobTree
from sampoll.app.keyword_settings import settings_of
from sampoll.app.serve_http import documents_for, operations_for
from sampoll.core.events import Listener, ignore_events
from sampoll.monitoring.server import serving
from sampoll.transports.http.access import access_of
from sampoll.transports.http.application import application_of
from support.folders import BOX
from support.images import encoded, image_of
from support.process import running_sampoll, until

IMAGE = encoded(image_of(), "JPEG")
FORM = {"image": ("cat.jpg", IMAGE)}
PROMPT = {"prompt": json.dumps(BOX)}
TOKEN = "a-token-of-tests-0123456789"


@contextmanager
def served(
    *, model: str = "kept", loads: bool = False, emit: Listener = ignore_events, **settings: Any
) -> Iterator[httpx.Client]:
    """A client of the service, which keeps embeddings; with `loads`, its model is never loaded."""
    engine = InProcess(settings_of({"model": f"support.fakes:{model}", **settings}), emit=emit)
    try:
        with serving("127.0.0.1", 0, application(engine, loads=loads)) as url, client_of(url) as client:
            yield client
    finally:
        engine.close()


def application(engine: InProcess, *, loads: bool = False) -> Any:
    settings, http_engine = engine.settings, HttpEngine(engine)
    access = access_of(settings.web)
    jobs = None if settings.spool.input is None else JobTree(settings)
    operations = operations_for(settings, lambda: None if loads else http_engine, access, jobs)
    documents = documents_for(access, has_jobs=jobs is not None)
    return application_of(operations, documents, access, settings.requests.queue_bytes)


def client_of(url: str) -> httpx.Client:
    # With a bound of idle connections, threads that share the client may lose one that they are about to use.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.Client(base_url=url, timeout=30, trust_env=False, limits=limits)


def segment(client: httpx.Client, **more: Any) -> httpx.Response:
    """The answer to a form with an image and a box."""
    return client.post("/v1/segment", **{"files": FORM, "data": PROMPT, **more})


@contextmanager
def serving_http(tmp_path: Path, *flags: object, model: str = "kept") -> Iterator[tuple[Any, httpx.Client]]:
    """The real process, ready, with its log in tmp_path/log, and a client."""
    log = tmp_path / "log"
    command = ("serve", "http", "--bind", 0, "--model", f"support.fakes:{model}", *flags)
    with log.open("wb") as file, running_sampoll(*command, log=file) as process:
        until(lambda: ": ready" in log.read_text() or process.poll() is not None, "the service")
        [url] = re.findall(r"status page: (http://\S+)", log.read_text())
        with client_of(url) as client:
            yield process, client
