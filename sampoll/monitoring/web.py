"""What is served over HTTP, as a WSGI application: health, metrics, and a page for people. Only GET."""

import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from prometheus_client import CONTENT_TYPE_LATEST

from sampoll.core.errors import SampollError
from sampoll.monitoring.health import Health
from sampoll.monitoring.history import History
from sampoll.monitoring.metrics import Metrics
from sampoll.monitoring.templates import page_template
from sampoll.monitoring.thumbnails import Thumbnails

StartResponse: TypeAlias = Callable[[str, list[tuple[str, str]]], Any]

TEXT, JSON, HTML, JPEG = (
    "text/plain; charset=utf-8",
    "application/json",
    "text/html; charset=utf-8",
    "image/jpeg",
)
SHOWN_IN_FLIGHT = 20
LEFT_SECONDS = 20.0
"""How long the page shows what is left in the input before it is looked through again."""
THUMBNAIL_PATH = re.compile(r"/thumbnails/([0-9]{1,12})\.jpg")
HARDENING = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]


@dataclass(frozen=True)
class Response:
    status: str
    kind: str
    content: bytes
    more: tuple[tuple[str, str], ...] = ()


class Application:
    """`thumbnails` is None if pictures must not be shown; `left` gives lines about files that the service
    does not take."""

    def __init__(
        self,
        health: Health,
        metrics: Metrics,
        history: History,
        thumbnails: Thumbnails | None,
        left: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._history = history
        self._thumbnails = thumbnails
        self._find_left = left
        self._left: tuple[float, Sequence[str]] = (-LEFT_SECONDS, ())
        self._routes: dict[str, Callable[[], Response]] = {
            "/": self._page,
            "/healthz": self._liveness,
            "/readyz": self._readiness,
            "/metrics": self._all_metrics,
        }
        self._template = page_template("sampoll.monitoring", "status.html.jinja")

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        response = self._response(str(environ["REQUEST_METHOD"]), str(environ["PATH_INFO"]))
        length = ("Content-Length", str(len(response.content)))
        start_response(response.status, [("Content-Type", response.kind), length, *HARDENING, *response.more])
        return [response.content]

    def _response(self, method: str, path: str) -> Response:
        if method != "GET":
            return Response("405 Method Not Allowed", TEXT, b"only GET\n", (("Allow", "GET"),))
        if path in self._routes:
            return self._routes[path]()
        if self._thumbnails is not None and (named := THUMBNAIL_PATH.fullmatch(path)):
            for thumbnail in self._thumbnails.kept():
                if thumbnail.number == int(named[1]):
                    return Response("200 OK", JPEG, thumbnail.jpeg)
        return Response("404 Not Found", TEXT, b"there is /, /healthz, /readyz and /metrics\n")

    def _liveness(self) -> Response:
        """200, or 503 if a restart would help."""
        return self._verdict(good=self._health.is_healthy)

    def _readiness(self) -> Response:
        """200, or 503 if the service is stalled, paused or stopping, or the model is still loading."""
        return self._verdict(good=self._health.is_ready)

    def _verdict(self, *, good: bool) -> Response:
        document = self._health.document()
        content = orjson.dumps({"state": document["state"], "reason": document["reason"]}) + b"\n"
        return Response("200 OK" if good else "503 Service Unavailable", JSON, content)

    def _all_metrics(self) -> Response:
        return Response("200 OK", CONTENT_TYPE_LATEST, self._metrics.text())

    def _page(self) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'unsafe-inline'; "
            f"script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        in_flight = self._health.in_flight()
        per_minute = self._history.per_minute()
        page = self._template.render(
            nonce=nonce,
            now=self._health.document(),
            in_flight=in_flight[:SHOWN_IN_FLIGHT],
            more_in_flight=max(0, len(in_flight) - SHOWN_IN_FLIGHT),
            per_minute=per_minute,
            most=max(per_minute),
            failures=self._health.failures(),
            failed_pairs=self._metrics.failed_pairs,
            left=self._recently_left(),
            thumbnails=None if self._thumbnails is None else self._thumbnails.kept(),
        )
        return Response("200 OK", HTML, page.encode(), (("Content-Security-Policy", policy),))

    def _recently_left(self) -> Sequence[str]:
        """The lines about files that are not taken, at most LEFT_SECONDS old; none if the input cannot be
        read, which the state of the service says."""
        now = time.monotonic()
        at, lines = self._left
        if now - at >= LEFT_SECONDS:
            try:
                lines = self._find_left()
            except SampollError:
                lines = ()
            self._left = now, lines
        return lines
