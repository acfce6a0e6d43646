"""What is served over HTTP, as a WSGI application: health, metrics, and pages for people. Only GET.

A path is compared with those that there are, and never opened: all content is in memory.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeAlias

import orjson
from prometheus_client import CONTENT_TYPE_LATEST

from sampoll.monitoring.health import Health
from sampoll.monitoring.metrics import Metrics
from sampoll.monitoring.page.pages import PACKAGE, Pages
from sampoll.monitoring.thumbnails import Thumbnails

StartResponse: TypeAlias = Callable[[str, list[tuple[str, str]]], Any]

TEXT, JSON, HTML, CSS, SCRIPT, JPEG = (
    "text/plain; charset=utf-8",
    "application/json",
    "text/html; charset=utf-8",
    "text/css; charset=utf-8",
    "text/javascript; charset=utf-8",
    "image/jpeg",
)
OK, NOT_FOUND = "200 OK", "404 Not Found"
PICTURE_PATH = re.compile(r"/pictures/([0-9]{1,12})(\.jpg|-small\.jpg|)")
HARDENING = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]
PAGE_POLICY = (
    "Content-Security-Policy",
    "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'self'; script-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)


@dataclass(frozen=True)
class Response:
    status: str
    kind: str
    content: bytes
    more: tuple[tuple[str, str], ...] = ()


class Application:
    """`thumbnails` is None if pictures must not be shown."""

    def __init__(
        self, health: Health, metrics: Metrics, pages: Pages, thumbnails: Thumbnails | None = None
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._pages = pages
        self._thumbnails = thumbnails
        style, script = (files(PACKAGE).joinpath(name).read_bytes() for name in ("status.css", "status.js"))
        self._routes: dict[str, Callable[[], Response]] = {
            "/": lambda: _page(self._pages.status()),
            "/status.css": lambda: Response(OK, CSS, style),
            "/status.js": lambda: Response(OK, SCRIPT, script),
            "/healthz": self._liveness,
            "/readyz": self._readiness,
            "/metrics": self._all_metrics,
        }

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
        if self._thumbnails is not None and (picture := PICTURE_PATH.fullmatch(path)):
            return self._picture(self._thumbnails, int(picture[1]), picture[2])
        return Response(NOT_FOUND, TEXT, b"there is /, /healthz, /readyz and /metrics\n")

    def _picture(self, thumbnails: Thumbnails, number: int, kind: str) -> Response:
        """A picture, or its page."""
        picture = thumbnails.find(number)
        if not kind:
            return _page(self._pages.picture(number, picture), NOT_FOUND if picture is None else OK)
        if picture is None:
            return Response(NOT_FOUND, TEXT, b"this picture is not kept\n")
        return Response(OK, JPEG, picture.large if kind == ".jpg" else picture.small)

    def _liveness(self) -> Response:
        """200, or 503 if a restart would help."""
        return self._verdict(good=self._health.is_healthy)

    def _readiness(self) -> Response:
        """200, or 503 if the service is stalled, paused or stopping, or the model is still loading."""
        return self._verdict(good=self._health.is_ready)

    def _verdict(self, *, good: bool) -> Response:
        document = self._health.document()
        content = orjson.dumps({"state": document["state"], "reason": document["reason"]}) + b"\n"
        return Response(OK if good else "503 Service Unavailable", JSON, content)

    def _all_metrics(self) -> Response:
        return Response(OK, CONTENT_TYPE_LATEST, self._metrics.text())


def _page(html: str, status: str = OK) -> Response:
    return Response(status, HTML, html.encode(), (PAGE_POLICY,))
