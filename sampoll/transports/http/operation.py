"""What the service does at one address: the seam between the application and each kind of client."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sampoll.core.errors import SampollError, as_value
from sampoll.transports.http.body import Gone, Room, send_paced
from sampoll.transports.http.exchange import Exchange, request_id_of
from sampoll.transports.http.refusals import Refusal, refusal_of, response_to

log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Exchange], Awaitable[Response]]


@dataclass(frozen=True)
class Operation:
    """`handler` answers, or raises a Refusal or a SampollError. `check` raises a Refusal of requests without
    the credentials that this client's protocol has, before their bodies are read. `refuse` makes the answer
    of a Refusal, for clients that expect their own."""

    method: str
    path: str
    handler: Handler
    check: Callable[[Headers], None]
    refuse: Callable[[Refusal, str], Response] = response_to

    def route(self, room: Room) -> Route:
        """The route of the application; what its requests and answers hold counts in `room`."""
        return Route(self.path, _Endpoint(self, room), methods=[self.method])


class _Endpoint:
    """An operation as an application: its memory counts until the answer is read."""

    def __init__(self, operation: Operation, room: Room) -> None:
        self._operation = operation
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
            self._operation.check(exchange.request.headers)
            return await self._operation.handler(exchange)
        except Refusal as refusal:
            return self._operation.refuse(refusal, exchange.request_id)
        except SampollError as error:
            return self._operation.refuse(refusal_of(as_value(error)), exchange.request_id)
