"""What every service shows over HTTP, as an ASGI application: health, metrics, and pages for people. Only GET
and HEAD.

A path is compared with those that there are, and never opened: all content is in memory.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files

import orjson
from prometheus_client import CONTENT_TYPE_LATEST

from sampoll.monitoring.health import Health
from sampoll.monitoring.metrics import Metrics
from sampoll.monitoring.page.pages import PACKAGE, Pages
from sampoll.monitoring.pictures import Pictures
from sampoll.monitoring.server import AsgiApplication, Receive, Scope, Send

TEXT, JSON, HTML, CSS, SCRIPT, JPEG = (
    "text/plain; charset=utf-8",
    "application/json",
    "text/html; charset=utf-8",
    "text/css; charset=utf-8",
    "text/javascript; charset=utf-8",
    "image/jpeg",
)
OK, NOT_FOUND, NOT_ALLOWED, UNAVAILABLE = 200, 404, 405, 503
PROBES = ("/healthz", "/readyz")
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
    status: int
    kind: str
    content: bytes
    more: tuple[tuple[str, str], ...] = ()

    @property
    def headers(self) -> Mapping[str, str]:
        length = ("Content-Length", str(len(self.content)))
        return dict([("Content-Type", self.kind), length, *HARDENING, *self.more])


class Application:
    """`pictures` is None if they must not be shown."""

    def __init__(
        self, health: Health, metrics: Metrics, pages: Pages, pictures: Pictures | None = None
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._pages = pages
        self._pictures = pictures
        style, script = (files(PACKAGE).joinpath(name).read_bytes() for name in ("status.css", "status.js"))
        self._routes: dict[str, Callable[[], Response]] = {
            "/": lambda: _page(self._pages.status()),
            "/status.css": lambda: Response(OK, CSS, style),
            "/status.js": lambda: Response(OK, SCRIPT, script),
            "/healthz": self._liveness,
            "/readyz": self._readiness,
            "/metrics": self._all_metrics,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        response = await self._response(method, path, self._answer_of(path))
        headers = [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.content})

    def beside(self, others: AsgiApplication) -> AsgiApplication:
        """An application that has the paths of this one, and leaves all others to `others`."""

        async def both(scope: Scope, receive: Receive, send: Send) -> None:
            application = others if self._answer_of(scope["path"]) is None else self
            await application(scope, receive, send)

        return both

    async def _response(self, method: str, path: str, answer: Callable[[], Response] | None) -> Response:
        if method not in ("GET", "HEAD"):
            return Response(NOT_ALLOWED, TEXT, b"only GET\n", (("Allow", "GET, HEAD"),))
        if answer is None:
            return Response(NOT_FOUND, TEXT, b"there is /, /healthz, /readyz and /metrics\n")
        # Pages may take seconds, and probes must not wait for them.
        return answer() if path in PROBES else await asyncio.to_thread(answer)

    def _answer_of(self, path: str) -> Callable[[], Response] | None:
        """What makes the response for a path; None if it is not one of ours."""
        if path in self._routes:
            return self._routes[path]
        if self._pictures is not None and (picture := PICTURE_PATH.fullmatch(path)):
            return partial(self._picture, self._pictures, int(picture[1]), picture[2])
        return None

    def _picture(self, pictures: Pictures, number: int, kind: str) -> Response:
        """A picture, or its page."""
        picture = pictures.find(number)
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
        return Response(OK if good else UNAVAILABLE, JSON, content)

    def _all_metrics(self) -> Response:
        return Response(OK, CONTENT_TYPE_LATEST, self._metrics.text())


def _page(html: str, status: int = OK) -> Response:
    return Response(status, HTML, html.encode(), (PAGE_POLICY,))
