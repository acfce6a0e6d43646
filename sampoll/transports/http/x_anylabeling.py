"""The routes of a remote server of X-AnyLabeling, under /x-anylabeling.

https://github.com/CVHub520/X-AnyLabeling-Server

An error of HTTP can make X-AnyLabeling delete the user's shapes. So every answer about an image is a success
of HTTP which replaces nothing; the program does not show what an error is: it is in our log.
"""

import asyncio
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadImage, BadRequest, SampollError
from sampoll.core.jobs import Exif
from sampoll.formats.geometry.simplify import coarser
from sampoll.inputs.image_files import BadStructure, Header, header_of
from sampoll.inputs.image_files.exif import stored_place, upright_place
from sampoll.inputs.prompt_file import excess_of_values
from sampoll.inputs.sent import image_in, prompt_in
from sampoll.transports.http.access import Access
from sampoll.transports.http.asking import FindEngine, answer_of, loaded
from sampoll.transports.http.body import Gone, body_of, length_in
from sampoll.transports.http.exchange import Exchange
from sampoll.transports.http.operation import Operation
from sampoll.transports.http.refusals import REQUEST_ID, Refusal
from sampoll.transports.http.request import JSON, Question, max_body_bytes
from sampoll.transports.http.tool_masks import BORDERS, ToolMask, tool_masks

log = logging.getLogger(__name__)

PREFIX = "/x-anylabeling"
PREVIEW = "AUTOLABEL_OBJECT"
"""The label of shapes that wait until the user names them."""
FINENESS = 0.001
"""How far an outline may be simplified, as a share of its length, if the program does not say it."""
MAX_FINENESS = 0.1
TOKEN_NEEDED = 'the request needs the token of this service as "api_key" of the remote server'
_MARKS = (
    "button_add_point",
    "button_remove_point",
    "button_add_rect",
    "button_clear",
    "button_finish_object",
)
_WORDS = ("edit_text", "button_send")


@dataclass(frozen=True)
class XAnyLabelingRoutes:
    """`takes_words`: the model takes prompts of words."""

    engine: FindEngine
    limits: LimitSettings
    access: Access
    model: str
    exif: Exif = "apply"
    takes_words: bool = False

    def operations(self) -> Iterator[Operation]:
        """What the application serves."""
        yield Operation("GET", f"{PREFIX}/v1/models", self._models, self._check)
        yield Operation("POST", f"{PREFIX}/v1/predict", self._predict, self._check, _refuse)

    def _check(self, headers: Headers) -> None:
        self.access.check(headers.get("token", ""), TOKEN_NEEDED)

    async def _models(self, exchange: Exchange) -> Response:
        """The model, and what the program shows for it; one without words is not asked for whole folders."""
        names = (*(_WORDS if self.takes_words else ()), *_MARKS)
        widgets: list[Mapping[str, Any]] = [{"name": name, "value": None} for name in names]
        widgets += [
            {"name": "mask_fineness_slider", "value": 10},
            {"name": "mask_fineness_value_label", "value": None},
            {"name": "toggle_preserve_existing_annotations", "value": True},
        ]
        model = {
            "display_name": f"sampoll: {self.model}",
            "widgets": widgets,
            "batch_processing_mode": "text_prompt" if self.takes_words else None,
        }
        return _answer({"success": True, "data": {self.model: model}}, exchange.request_id)

    async def _predict(self, exchange: Exchange) -> Response:
        """The shapes of an image."""
        try:
            return await self._shapes(exchange)
        except (SampollError, Refusal, Gone):
            raise
        except Exception as error:  # a bug of ours must not cost the user's shapes either
            log.exception("%s: an error of the service itself", exchange.request_id)
            raise Refusal(
                500, "an error of the service itself, which its log has", code="internal-error"
            ) from error

    async def _shapes(self, exchange: Exchange) -> Response:
        length_bytes = length_in(exchange.request.headers, max_body_bytes(JSON, self.limits))
        exchange.memory.take(length_bytes)
        body = await body_of(exchange.request.receive, length_bytes)
        asked = await asyncio.to_thread(_asked_in, body, self.limits, self.exif)
        if not asked.prompts:
            return _answer(_document(()), exchange.request_id)
        engine = loaded(self.engine)
        prompt = prompt_in({"prompts": asked.prompts}, self.limits.max_prompt_bytes)
        delivery = await answer_of(engine, Question(asked.image, "", prompt), BORDERS, exchange)
        shapes = await asyncio.to_thread(lambda: list(_shapes_of(tool_masks(delivery).masks, asked)))
        return _answer(_document(shapes), exchange.request_id)


@dataclass(frozen=True)
class _Asked:
    """An image file, and prompts as in a prompt file. Their places are those of the upright image;
    X-AnyLabeling shows the image as it is stored."""

    image: bytes
    frame: "_Frame"
    prompts: Sequence[Mapping[str, Any]]
    fineness: float
    label: str


@dataclass(frozen=True)
class _Frame:
    header: Header
    exif: Exif

    def point(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of the image as it is segmented."""
        inside = _within(x, self.header.width - 1), _within(y, self.header.height - 1)
        return upright_place(inside, self._last(1), self.header.turning(self.exif))

    def box(self, x0: float, y0: float, x1: float, y1: float) -> Mapping[str, float]:
        places = [
            upright_place(each, self._last(0), self.header.turning(self.exif))
            for each in ((x0, y0), (x1, y1))
        ]
        (left, right), (top, bottom) = (sorted(each) for each in zip(*places, strict=True))
        return {"x0": left, "y0": top, "x1": right, "y1": bottom}

    def shown(self, ring: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
        """The points of a ring as the program shows them."""
        turning = self.header.turning(self.exif)
        return [stored_place((x, y), self._last(1), turning) for x, y in ring]

    def _last(self, pixel: int) -> tuple[float, float]:
        return self.header.width - pixel, self.header.height - pixel


def _within(value: float, last: float) -> float:
    return min(max(value, 0.0), last)


def _asked_in(body: bytes, limits: LimitSettings, exif: Exif) -> _Asked:
    if excess := excess_of_values(body, limits):
        raise BadRequest(f"the request {excess}")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the request is not JSON in UTF-8: {error}") from error
    if not isinstance(document, dict):
        raise BadRequest("the request must be a JSON object, as X-AnyLabeling sends it")
    image = image_in(document.get("image"), limits.max_image_bytes)
    frame = _Frame(_header(image), exif)
    params = document.get("params")
    params = params if isinstance(params, dict) else {}
    words = params.get("text_prompt")
    fineness = _within(_number_in(params, "epsilon_factor", FINENESS), MAX_FINENESS)
    if isinstance(words, str) and words.strip():
        return _Asked(image, frame, [_words(words, params)], fineness, words)
    return _Asked(image, frame, _prompts(params.get("marks"), frame), fineness, PREVIEW)


def _header(image: bytes) -> Header:
    try:
        header = header_of(image)
    except BadStructure as error:
        raise BadImage(str(error), field="image") from error
    if header is None or not header.pixels:
        raise BadImage("is no image that can be read (JPEG, PNG, TIFF, WebP or BMP)", field="image")
    return header


def _words(words: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    least = _number_in(params, "conf_threshold", 0.0)
    return {"text": words, **({"score_thresh": min(least, 1.0)} if least > 0 else {})}


def _prompts(marks: Any, frame: _Frame) -> Sequence[Mapping[str, Any]]:
    """A prompt for each rectangle, with all points; or one of the points alone."""
    points, boxes = [], []
    for mark in marks if isinstance(marks, list) else []:
        kind, data = (mark.get("type"), mark.get("data")) if isinstance(mark, dict) else (None, None)
        if kind == "point":
            x, y = frame.point(*_numbers(data, 2))
            points.append({"x": x, "y": y, "label": 0 if mark.get("label") == 0 else 1})
        elif kind == "rectangle":
            boxes.append(frame.box(*_numbers(data, 4)))
    common = {"points": points} if points else {}
    return [{**common, "box": box} for box in boxes] or ([common] if common else [])


def _numbers(data: Any, count: int) -> Sequence[float]:
    if not isinstance(data, list) or len(data) != count or not all(map(_is_number, data)):
        raise BadRequest(f"must have {count} numbers", field="marks")
    return data


def _number_in(params: Mapping[str, Any], key: str, default: float) -> float:
    value = params.get(key)
    return float(value) if _is_number(value) else default


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shapes_of(masks: Sequence[Sequence[ToolMask]], asked: _Asked) -> Iterator[Mapping[str, Any]]:
    """A polygon for each part of each mask, whose last point is its first; none for parts without area."""
    for mask in (each for of_prompt in masks for each in of_prompt):
        for ring in mask.outlines:
            points = asked.frame.shown(coarser(ring, asked.fineness))
            if len(set(points)) >= 3:
                yield {
                    "label": asked.label,
                    "shape_type": "polygon",
                    "points": [*points, points[0]],
                    "score": _within(mask.score, 1.0),
                }


def _document(shapes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`description` stays empty: it would replace the user's own description of the image."""
    return {"success": True, "data": {"shapes": shapes, "description": "", "replace": False}}


def _answer(document: Mapping[str, Any], request_id: str) -> Response:
    headers = {REQUEST_ID: request_id, "Cache-Control": "no-store"}
    return Response(orjson.dumps(document), 200, headers, "application/json")


def _refuse(refusal: Refusal, request_id: str) -> Response:
    log.warning("X-AnyLabeling: %s: %s", request_id, refusal)
    error = {"code": refusal.code, "message": str(refusal)}
    return _answer({**_document(()), "success": False, "error": error}, request_id)
