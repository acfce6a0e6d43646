"""The routes of `sampoll serve http`, as an ASGI application."""

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
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
from sampoll.core.errors import SampollError, as_value
from sampoll.core.jobs import Submission
from sampoll.core.results import Delivery
from sampoll.transports.http.access import Access
from sampoll.transports.http.answer import accepted_kind, response_with
from sampoll.transports.http.body import Gone, Room, body_of, length_in, send_paced
from sampoll.transports.http.exchange import Exchange, request_id_of
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

OPEN_PATHS = ("/healthz", "/readyz", "/metrics")
"""What supervisors ask, under whatever name they know the service."""


class Engine(Protocol):
    """The service that has the model."""

    def submit(self, submission: Submission, kind: str) -> Future[Delivery]:
        """The future of what an answer of this kind consists of; `cancel` withdraws the submission. Raises,
        or gives to the future: Overloaded if there is no room, ImageUnknown if the image has to be sent, and
        Stopped if nothing more is taken."""


@dataclass(frozen=True)
class Served:
    """What the routes need. `engine` gives None while the model is being loaded."""

    engine: Callable[[], Engine | None]
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
    handlers, room = _Handlers(served), Room(served.queue_bytes)
    application = Starlette(
        routes=[
            *(
                Route(path, _Endpoint(handler, served.access, room), methods=[method])
                for method, path, handler in handlers.routes()
            ),
            *(Route(each.path, each.endpoint, methods=["GET"]) for each in documents),
        ],
        middleware=[cors] if served.access.origins else [],
        exception_handlers={HTTPException: _refuse_path, Exception: _refuse_all},
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


Handler: TypeAlias = Callable[[Exchange], Awaitable[Response]]


class _Endpoint:
    """A handler as an application: its refusals are answers, requests without the token are refused, and its
    memory counts until the answer is read."""

    def __init__(self, handler: Handler, access: Access, room: Room) -> None:
        self._handler = handler
        self._access = access
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        with self._room.share() as memory:
            exchange = Exchange(request, request_id_of(request.headers), memory)
            try:
                response = await self._response(exchange)
                memory.keep(len(response.body))
                await send_paced(response, send)
            except Gone:
                log.debug("%s: the client has gone", exchange.request_id)

    async def _response(self, exchange: Exchange) -> Response:
        try:
            self._access.check_token(exchange.request.headers)
            return await self._handler(exchange)
        except Refusal as refusal:
            return response_to(refusal, exchange.request_id)
        except SampollError as error:
            return response_to(refusal_of(as_value(error)), exchange.request_id)


async def _refuse_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = "there is no such path here: see /openapi.json" if error.status_code == 404 else error.detail
    return response_to(
        Refusal(error.status_code, message, headers=error.headers), request_id_of(request.headers)
    )


async def _refuse_all(request: Request, _: Exception) -> Response:
    """The answer where we have a bug; the server logs it."""
    message = "an error of the service itself, which its log has"
    return response_to(Refusal(500, message, code="internal-error"), request_id_of(request.headers))


class _Handlers:
    """What answers the requests of each route."""

    def __init__(self, served: Served) -> None:
        self._served = served

    def routes(self) -> Iterator[tuple[str, str, Handler]]:
        """The method, the path and the handler of each route."""
        yield "POST", "/v1/segment", self._segment
        jobs = self._served.jobs
        if jobs is not None:
            yield "POST", JOBS, partial(self._put_job, jobs)
            yield "GET", f"{JOBS}/{{id}}", partial(show_job, jobs)
            yield "GET", f"{JOBS}/{{id}}/files/{{name:path}}", partial(show_file, jobs)

    async def _segment(self, exchange: Exchange) -> Response:
        """The masks of an image."""
        request, request_id = exchange.request, exchange.request_id
        wanted = accepted_kind(request.headers.get("accept", ""))
        engine = self._served.engine()
        if engine is None:
            raise later("the model is being loaded: send it again later")
        question = await self._received(exchange)
        future = await asyncio.to_thread(_submitted, question, engine, wanted, request_id)
        delivery = await _outcome(future, request)
        return await asyncio.to_thread(response_with, delivery, wanted, request_id)

    async def _put_job(self, jobs: Jobs, exchange: Exchange) -> Response:
        return await put_job(jobs, await self._received(exchange), exchange)

    async def _received(self, exchange: Exchange) -> Question:
        """What the body of a request says."""
        headers, limits = exchange.request.headers, self._served.limits
        kind = kind_of(headers)
        length_bytes = length_in(headers, max_body_bytes(kind, limits))
        exchange.memory.take(length_bytes)
        body = await body_of(exchange.request.receive, length_bytes)
        if kind == JSON:
            return await asyncio.to_thread(question_in_json, body, limits, self._served.default_prompt)
        form = question_in_form(headers["content-type"], body, limits, self._served.default_prompt)
        return await asyncio.to_thread(asyncio.run, form)  # not on the loop of all requests: it may take long


def _submitted(question: Question, engine: Engine, kind: str, request_id: str) -> Future[Delivery]:
    submission = Submission(
        id=uuid.uuid4().hex,
        name=request_id,
        image_name="image",
        prompt_name="prompt",
        image=question.image,
        prompt=question.prompt,
        image_sha256=question.image_sha256 or hashlib.sha256(question.image).hexdigest(),
        image_file=question.image_file,
    )
    return engine.submit(submission, kind)


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
