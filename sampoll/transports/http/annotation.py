"""The routes of the annotation page: images of a folder, masks for what is marked in them, drafts, "done"."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import orjson
from starlette.responses import Response

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadRequest
from sampoll.transports.http.access import Access
from sampoll.transports.http.answer import JSON, PNG
from sampoll.transports.http.asking import FindEngine, answer_of, loaded
from sampoll.transports.http.body import body_of, length_in
from sampoll.transports.http.exchange import Exchange
from sampoll.transports.http.operation import Handler, Operation
from sampoll.transports.http.request import ENVELOPE_BYTES, Question

Document: TypeAlias = Mapping[str, Any]
"""What becomes JSON, or was it."""

ANNOTATE = "/annotate/v1"
IMAGES = f"{ANNOTATE}/images"
MAX_ROWS = 500
"""Images that one answer names, at most."""
MASK = "X-Mask"
"""Of an answer with a mask: JSON that says where it lies, and how good it is."""


class Annotations(Protocol):
    """The folder that is annotated. Each call may take long, raises SampollError, and may be made in any
    thread; images are given by their number in the list."""

    def about(self) -> Document:
        """What the page shows of the model and the folder."""

    def images(self, search: str, first: int, count: int, *, unfinished: bool) -> Document:
        """A part of the list of images."""

    def neighbour(self, image: int, step: int, search: str, *, unfinished: bool) -> Document:
        """The next image of the list after, or before, this one."""

    def open(self, image: int) -> Document:
        """All that is known of an image; it is embedded from now on."""

    def preview(self, image: int) -> tuple[str, bytes]:
        """A picture of an image: its media type, and its content."""

    def prepare(self, image: int) -> None:
        """Reads and embeds an image that will be opened next."""

    def save(self, image: int, draft: Document) -> Document:
        """Keeps a draft."""

    def discard(self, image: int, draft: Document) -> None:
        """Removes a draft."""

    def publish(self, image: int, draft: Document) -> Document:
        """Writes what is marked as a prompt file, and results if they are wanted; removes the draft."""


@dataclass(frozen=True)
class AnnotationRoutes:
    """What the page asks for."""

    annotations: Annotations
    engine: FindEngine
    limits: LimitSettings
    access: Access

    def operations(self) -> Iterator[Operation]:
        """What the application serves."""
        for method, path, handler in self._handlers():
            yield Operation(method, path, handler, self.access.check_token)

    def _handlers(self) -> Iterator[tuple[str, str, Handler]]:
        image = f"{IMAGES}/{{image:int}}"
        yield "GET", f"{ANNOTATE}/about", self._about
        yield "GET", IMAGES, self._images
        yield "GET", image, self._open
        yield "GET", f"{image}/neighbour", self._neighbour
        yield "GET", f"{image}/preview", self._preview
        yield "POST", f"{image}/prepare", self._prepare
        yield "PUT", f"{image}/draft", self._save
        yield "DELETE", f"{image}/draft", self._discard
        yield "POST", f"{image}/done", self._publish
        yield "POST", f"{ANNOTATE}/masks/{{image_sha256}}", self._mask

    async def _about(self, _: Exchange) -> Response:
        return await _json(self.annotations.about)

    async def _images(self, exchange: Exchange) -> Response:
        first, count = _whole(exchange, "first", 0, 10**9), _whole(exchange, "count", 100, MAX_ROWS)
        search, unfinished = _asked(exchange)
        return await _json(lambda: self.annotations.images(search, first, count, unfinished=unfinished))

    async def _neighbour(self, exchange: Exchange) -> Response:
        image, step = _image(exchange), -1 if exchange.request.query_params.get("step") == "-1" else 1
        search, unfinished = _asked(exchange)
        return await _json(lambda: self.annotations.neighbour(image, step, search, unfinished=unfinished))

    async def _open(self, exchange: Exchange) -> Response:
        return await _json(lambda: self.annotations.open(_image(exchange)))

    async def _preview(self, exchange: Exchange) -> Response:
        kind, content = await asyncio.to_thread(self.annotations.preview, _image(exchange))
        return Response(content, 200, HEADERS, kind)

    async def _prepare(self, exchange: Exchange) -> Response:
        await asyncio.to_thread(self.annotations.prepare, _image(exchange))
        return Response(b"", 204, HEADERS)

    async def _save(self, exchange: Exchange) -> Response:
        draft = await self._document(exchange)
        return await _json(lambda: self.annotations.save(_image(exchange), draft))

    async def _discard(self, exchange: Exchange) -> Response:
        draft = await self._document(exchange)
        await asyncio.to_thread(self.annotations.discard, _image(exchange), draft)
        return Response(b"", 204, HEADERS)

    async def _publish(self, exchange: Exchange) -> Response:
        draft = await self._document(exchange)
        return await _json(lambda: self.annotations.publish(_image(exchange), draft))

    async def _mask(self, exchange: Exchange) -> Response:
        """The mask of a prompt, as a PNG in the frame of the preview."""
        engine = loaded(self.engine)
        question = Question(b"", exchange.request.path_params["image_sha256"], await self._body(exchange))
        png, place = (await answer_of(engine, question, PNG, exchange)).artifacts
        return Response(png.content, 200, {**HEADERS, MASK: place.content.decode("ascii")}, PNG)

    async def _document(self, exchange: Exchange) -> Document:
        body = await self._body(exchange)
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"the request is not JSON in UTF-8: {error}") from error
        if not isinstance(document, dict):
            raise BadRequest("the request must be a JSON object")
        return document

    async def _body(self, exchange: Exchange) -> bytes:
        """The body: prompts, and little more."""
        most = self.limits.max_prompt_bytes + ENVELOPE_BYTES
        length_bytes = length_in(exchange.request.headers, most)
        exchange.memory.take(length_bytes)
        return await body_of(exchange.request.receive, length_bytes)


HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def _json(make: Callable[[], Document]) -> Response:
    document = await asyncio.to_thread(make)
    return Response(orjson.dumps(document), 200, HEADERS, JSON)


def _image(exchange: Exchange) -> int:
    number: int = exchange.request.path_params["image"]
    return number


def _asked(exchange: Exchange) -> tuple[str, bool]:
    """What images must contain in their paths, and whether only those are wanted that are not done."""
    query = exchange.request.query_params
    return query.get("search", ""), query.get("unfinished") == "true"


def _whole(exchange: Exchange, name: str, default: int, most: int) -> int:
    """A whole number of the query, from 0."""
    text = exchange.request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= most):
        raise BadRequest(f"must be a whole number from 0 to {most}", field=name)
    return int(text)
