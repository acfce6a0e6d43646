"""The routes of `sampoll serve http`, as an ASGI application."""

import asyncio
import hashlib
import logging
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeAlias

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import ImageUnknown, SampollError
from sampoll.core.jobs import Submission
from sampoll.core.protocols import Format
from sampoll.core.results import Delivery
from sampoll.transports.http.access import Access
from sampoll.transports.http.answer import accepted_kind, response_with
from sampoll.transports.http.body import Gone, Room, body_of, length_in
from sampoll.transports.http.jobs import JOBS, Jobs, put_job, show_file, show_job
from sampoll.transports.http.refusals import REQUEST_ID, Refusal, later, refusal_of, response_to
from sampoll.transports.http.request import (
    JSON,
    Question,
    kind_of,
    max_body_bytes,
    question_in_form,
    question_in_json,
)

log = logging.getLogger(__name__)

_OWN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
OPEN_PATHS = ("/healthz", "/readyz", "/metrics")
"""What supervisors ask, under whatever name they know the service."""
CLIENT_GONE = 499
"""The status of a request whose client has gone; nobody sees it."""


class Engine(Protocol):
    """The service that has the model."""

    def submit(
        self, submission: Submission, formats: Sequence[Format] = (), *, waits: bool = True
    ) -> Future[Delivery]:
        """The future of a submission; `cancel` withdraws it. Overloaded if there is no room, and `waits` is
        False; Stopped if nothing more is taken."""

    def knows(self, image_sha256: str) -> bool:
        """Whether the digest of that image is enough."""


@dataclass(frozen=True)
class Served:
    """What the routes need. `engine` gives None while the model is being loaded; `formats` are those of each
    kind of answer, by its media type."""

    engine: Callable[[], Engine | None]
    formats: Mapping[str, Sequence[Format]]
    limits: LimitSettings
    queue_bytes: int
    access: Access
    default_prompt: bytes | None = None
    jobs: Jobs | None = None


@dataclass(frozen=True)
class Document:
    """Something to read, under a path."""

    path: str
    kind: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    async def endpoint(self, _: Request) -> Response:
        return Response(self.content, 200, dict(self.headers), self.kind)


def application_of(
    served: Served,
    documents: Sequence[Document],
    add_pages: Callable[[ASGIApp], ASGIApp] = lambda application: application,
) -> ASGIApp:
    """The application; `documents` are for everyone who may call it, with or without the token, and so are
    the pages of the service that `add_pages` puts beside the routes."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=served.access.origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", REQUEST_ID],
        expose_headers=["*"],
    )
    handlers = _Handlers(served)
    application = Starlette(
        routes=[
            *(
                Route(path, _answered(handler, served.access), methods=[method])
                for method, path, handler in handlers.routes()
            ),
            *(Route(each.path, each.endpoint, methods=["GET"]) for each in documents),
        ],
        middleware=[cors] if served.access.origins else [],
        exception_handlers={HTTPException: _refuse_path},
    )
    application.router.redirect_slashes = False
    return with_callers_checked(add_pages(application), served.access)


def with_callers_checked(application: ASGIApp, access: Access) -> ASGIApp:
    """The application, without requests to names that are not ours and those of pages that are not allowed,
    except on OPEN_PATHS."""

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            if scope["path"] not in OPEN_PATHS:
                access.check_caller(headers)
        except Refusal as refusal:
            await response_to(refusal, request_id_of(headers))(scope, receive, send)
        else:
            await application(scope, receive, send)

    return checked


Handler: TypeAlias = Callable[[Request, str], Awaitable[Response]]
"""Makes the answer to a request, whose id is the second argument."""


def _answered(handler: Handler, access: Access) -> Callable[[Request], object]:
    """The endpoint of a handler: its refusals are answers, and requests without the token are refused."""

    async def endpoint(request: Request) -> Response:
        request_id = request_id_of(request.headers)
        try:
            access.check_token(request.headers)
            return await handler(request, request_id)
        except Refusal as refusal:
            return response_to(refusal, request_id)
        except SampollError as error:
            return response_to(refusal_of(error), request_id)
        except Gone:
            log.debug("%s: the client has gone", request_id)
            return Response(status_code=CLIENT_GONE)

    return endpoint


def request_id_of(headers: Mapping[str, str]) -> str:
    """The id that the client has given to its request, if it can be a file name; otherwise a new one."""
    given = headers.get(REQUEST_ID.lower(), "")
    return given if _OWN_ID.fullmatch(given) else uuid.uuid4().hex


async def _refuse_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = "there is no such path here: see /openapi.json" if error.status_code == 404 else error.detail
    return response_to(
        Refusal(error.status_code, message, headers=error.headers), request_id_of(request.headers)
    )


class _Handlers:
    """What answers the requests of each route. All bodies share the memory for requests."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._room = Room(served.queue_bytes)

    def routes(self) -> Iterator[tuple[str, str, Handler]]:
        """The method, the path and the handler of each route."""
        yield "POST", "/v1/segment", self._segment
        jobs = self._served.jobs
        if jobs is not None:
            yield "POST", JOBS, partial(self._put_job, jobs)
            yield "GET", f"{JOBS}/{{id}}", partial(show_job, jobs)
            yield "GET", f"{JOBS}/{{id}}/files/{{name:path}}", partial(show_file, jobs)

    async def _segment(self, request: Request, request_id: str) -> Response:
        """The masks of an image."""
        wanted = accepted_kind(request.headers.get("accept", ""))
        engine = self._served.engine()
        if engine is None:
            raise later("the model is being loaded: send it again later")
        async with self._received(request) as question:
            submission = await asyncio.to_thread(_submission, question, engine, request_id)
            future = engine.submit(submission, self._served.formats[wanted], waits=False)
            delivery = await _outcome(future, request)
            return await asyncio.to_thread(response_with, delivery, wanted, request_id)

    async def _put_job(self, jobs: Jobs, request: Request, request_id: str) -> Response:
        async with self._received(request) as question:
            return await put_job(jobs, question, request, request_id)

    @asynccontextmanager
    async def _received(self, request: Request) -> AsyncIterator[Question]:
        """What the body of a request says; its memory counts until the block ends."""
        kind, limits = kind_of(request.headers), self._served.limits
        length_bytes = length_in(request.headers, max_body_bytes(kind, limits))
        with self._room.held(length_bytes):
            body = await body_of(request.receive, length_bytes)
            yield await self._question(kind, request.headers, body)

    async def _question(self, kind: str, headers: Mapping[str, str], body: bytes) -> Question:
        limits, default_prompt = self._served.limits, self._served.default_prompt
        if kind == JSON:
            return await asyncio.to_thread(question_in_json, body, limits, default_prompt)
        return await question_in_form(headers["content-type"], body, limits, default_prompt)


def _submission(question: Question, engine: Engine, request_id: str) -> Submission:
    """The submission of a question; ImageUnknown if the image has to be sent."""
    if not question.image and not engine.knows(question.image_sha256):
        raise ImageUnknown("is not known here: send the image", field="image_sha256")
    return Submission(
        id=uuid.uuid4().hex,
        name=request_id,
        image_name="image",
        prompt_name="prompt",
        image=question.image,
        prompt=question.prompt,
        image_sha256=question.image_sha256 or hashlib.sha256(question.image).hexdigest(),
        image_file=question.image_file,
    )


async def _outcome(future: Future[Delivery], request: Request) -> Delivery:
    """What comes of a submission. If the client goes before that, withdraws it, and raises Gone."""
    outcome = asyncio.wrap_future(future)
    gone = asyncio.ensure_future(_gone(request))
    either: set[asyncio.Future[Any]] = {outcome, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    if outcome.done():
        return outcome.result()
    outcome.cancel()
    raise Gone


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
