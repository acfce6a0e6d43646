"""sampoll's own routes: /v1/segment, and /v1/jobs where a watched folder is given."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response

from sampoll.config.settings.limits import LimitSettings
from sampoll.transports.http.access import Access
from sampoll.transports.http.answer import accepted_kind, response_with
from sampoll.transports.http.asking import FindEngine, answer_of, loaded
from sampoll.transports.http.body import body_of, length_in
from sampoll.transports.http.exchange import Exchange
from sampoll.transports.http.jobs import JOBS, Jobs, put_job, show_file, show_job
from sampoll.transports.http.operation import Handler, Operation
from sampoll.transports.http.request import (
    JSON,
    Question,
    kind_of,
    max_body_bytes,
    question_in_form,
    question_in_json,
)


@dataclass(frozen=True)
class NativeRoutes:
    """`jobs` is None where no watched folder is given."""

    engine: FindEngine
    limits: LimitSettings
    access: Access
    default_prompt: bytes | None = None
    jobs: Jobs | None = None

    def operations(self) -> Iterator[Operation]:
        """What the application serves."""
        for method, path, handler in self._handlers():
            yield Operation(method, path, handler, self.access.check_token)

    def _handlers(self) -> Iterator[tuple[str, str, Handler]]:
        yield "POST", "/v1/segment", self._segment
        if self.jobs is not None:
            yield "POST", JOBS, partial(self._put_job, self.jobs)
            yield "GET", f"{JOBS}/{{id}}", partial(show_job, self.jobs)
            yield "GET", f"{JOBS}/{{id}}/files/{{name:path}}", partial(show_file, self.jobs)

    async def _segment(self, exchange: Exchange) -> Response:
        """The masks of an image."""
        wanted = accepted_kind(exchange.request.headers.get("accept", ""))
        engine = loaded(self.engine)
        delivery = await answer_of(engine, await self._received(exchange), wanted, exchange)
        return await asyncio.to_thread(response_with, delivery, wanted, exchange.request_id)

    async def _put_job(self, jobs: Jobs, exchange: Exchange) -> Response:
        return await put_job(jobs, await self._received(exchange), exchange)

    async def _received(self, exchange: Exchange) -> Question:
        """What the body of a request says."""
        headers = exchange.request.headers
        kind = kind_of(headers)
        length_bytes = length_in(headers, max_body_bytes(kind, self.limits))
        exchange.memory.take(length_bytes)
        body = await body_of(exchange.request.receive, length_bytes)
        if kind == JSON:
            return await asyncio.to_thread(question_in_json, body, self.limits, self.default_prompt)
        form = question_in_form(headers["content-type"], body, self.limits, self.default_prompt)
        return await asyncio.to_thread(asyncio.run, form)  # not on the loop of all requests: it may take long
