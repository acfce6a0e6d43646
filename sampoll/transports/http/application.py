"""All that `sampoll serve http` serves, as an ASGI application."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sampoll.transports.http.access import Access
from sampoll.transports.http.body import Room
from sampoll.transports.http.exchange import request_id_of
from sampoll.transports.http.operation import Operation
from sampoll.transports.http.refusals import REQUEST_ID, Refusal, response_to

OPEN_PATHS = ("/healthz", "/readyz", "/metrics")
"""What supervisors ask, under whatever name they know the service."""


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
    operations: Iterable[Operation],
    documents: Sequence[Document],
    access: Access,
    max_bytes: int,
    add_pages: Callable[[ASGIApp], ASGIApp] = lambda application: application,
) -> ASGIApp:
    """The application; what the operations hold of requests and answers has `max_bytes` at most.

    `documents` are for everyone who may call it, with or without the token, and so are the pages of the
    service that `add_pages` puts beside the routes.
    """
    cors = Middleware(
        CORSMiddleware,
        allow_origins=access.origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", REQUEST_ID],
        expose_headers=["*"],
    )
    room = Room(max_bytes)
    application = Starlette(
        routes=[
            *(operation.route(room) for operation in operations),
            *(Route(each.path, each.endpoint, methods=["GET"]) for each in documents),
        ],
        middleware=[cors] if access.origins else [],
        exception_handlers={HTTPException: _refuse_path, Exception: _refuse_all},
    )
    application.router.redirect_slashes = False
    return with_callers_checked(add_pages(application), access)


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
