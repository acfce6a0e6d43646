"""The routes of an ML backend of Label Studio, under /label-studio.

Label Studio waits 1 s for /health, 3 s for /setup and 100 s for /predict, and shows its users no errors of
/predict: they are in our log.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response

from sampoll.config.settings.limits import LimitSettings
from sampoll.core.errors import BadImage, BadRequest, SampollError, TransientJobError
from sampoll.core.jobs import Exif
from sampoll.inputs.decode import image_size
from sampoll.inputs.sent import check_prompt_size
from sampoll.transports.http.access import Access
from sampoll.transports.http.asking import FindEngine, delivery_of, loaded, while_connected
from sampoll.transports.http.body import body_of, length_in
from sampoll.transports.http.exchange import Exchange
from sampoll.transports.http.label_studio.images import NOT_SET, LabelStudioImages
from sampoll.transports.http.label_studio.label_config import Images, LabelConfig, label_config
from sampoll.transports.http.label_studio.regions import regions_of, score_of
from sampoll.transports.http.label_studio.tasks import (
    AskedImage,
    Task,
    asked_by_user,
    prompt_file,
    prompt_of_user,
    prompts_of_task,
    tasks_in,
)
from sampoll.transports.http.operation import Handler, Operation
from sampoll.transports.http.refusals import REQUEST_ID, Refusal, refusal_of, response_to
from sampoll.transports.http.request import Question
from sampoll.transports.http.tool_masks import BRUSH, EDGES, tool_masks

log = logging.getLogger(__name__)

PREFIX = "/label-studio"
ANSWER_SECONDS = 85.0
"""After this, what is done of a request is answered: Label Studio drops all of it after 100 s."""
MAX_BODY_BYTES = 64 * 2**20
"""Of a request, which has no images; what is parsed of it takes several times as much."""
AT_ONCE = 8
"""How many tasks of a request are worked on at a time."""
Regions: TypeAlias = list[Mapping[str, Any]]


@dataclass(frozen=True)
class LabelStudioRoutes:
    """`images` is None if no Label Studio is set; `model` is what predictions are said to be of."""

    engine: FindEngine
    limits: LimitSettings
    access: Access
    images: LabelStudioImages | None
    model: str
    exif: Exif = "apply"

    def operations(self) -> Iterator[Operation]:
        """The routes. Label Studio sends no credentials to the webhook, which does nothing."""
        guarded: list[tuple[str, str, Handler]] = [
            ("GET", "/health", self._health),
            ("POST", "/setup", self._setup),
            ("POST", "/predict", self._predict),
            ("GET", "/versions", self._versions),
        ]
        for method, path, handler in guarded:
            yield Operation(method, PREFIX + path, handler, self.access.check_basic, _refuse)
        yield Operation("POST", f"{PREFIX}/webhook", self._webhook, _check_nothing)

    async def _health(self, exchange: Exchange) -> Response:
        return _answer({"status": "UP", "model_class": self.model}, exchange)

    async def _versions(self, exchange: Exchange) -> Response:
        return _answer({"versions": [self.model]}, exchange)

    async def _webhook(self, exchange: Exchange) -> Response:
        return _answer({}, exchange)

    async def _setup(self, exchange: Exchange) -> Response:
        """Whether masks can be made for a project, without the model: 3 s are too short to load it."""
        document = await self._received(exchange)
        try:
            await asyncio.to_thread(label_config, document.get("schema"))
            self.needed_images()
        except SampollError as error:
            _log(f"project {document.get('project')}", error)
            return response_to(refusal_of(error), exchange.request_id)
        return _answer({"model_version": self.model}, exchange)

    async def _predict(self, exchange: Exchange) -> Response:
        document = await self._received(exchange)
        drawn, tasks = asked_by_user(document), tasks_in(document)
        config = await asyncio.to_thread(label_config, document.get("label_config"))
        asked: list[tuple[Task, Prompts]] = (
            [(task, partial(prompts_of_task, task)) for task in tasks]
            if drawn is None
            else [(tasks[0], partial(_of_user, drawn))]
        )
        answering = _Answering(self, config, exchange)
        outcomes = await while_connected(answering.all_of(asked), exchange.request)
        errors = [each for each in outcomes if isinstance(each, SampollError | Refusal)]
        if len(errors) == len(outcomes):  # then there is nothing that could be lost
            refusal = errors[0] if isinstance(errors[0], Refusal) else refusal_of(errors[0])
            return response_to(refusal, exchange.request_id)
        found: list[Regions] = [[] if isinstance(each, Exception) else each for each in outcomes]
        if drawn is None:
            # A list of no predictions, where one without regions would be stored, and shown: Label Studio
            # would then never ask for this task again.
            results: list[Any] = [_entry(each, self.model) if each else [] for each in found]
        else:
            results = [_entry(each, self.model) for each in found]
        return await asyncio.to_thread(_answer, {"results": results}, exchange)

    async def _received(self, exchange: Exchange) -> Mapping[str, Any]:
        length_bytes = length_in(exchange.request.headers, MAX_BODY_BYTES)
        exchange.memory.take(length_bytes)
        body = await body_of(exchange.request.receive, length_bytes)
        return await asyncio.to_thread(_document_in, body)

    def needed_images(self) -> LabelStudioImages:
        """Where images come from; BadRequest if no Label Studio is set."""
        if self.images is None:
            raise BadRequest(NOT_SET)
        return self.images


Outcome: TypeAlias = Regions | SampollError | Refusal
Prompts: TypeAlias = Callable[[], Sequence[AskedImage]]
"""Reads the prompts of a task; raises a JobError."""


@dataclass(frozen=True)
class _Answering:
    """One request for predictions."""

    routes: LabelStudioRoutes
    config: LabelConfig
    exchange: Exchange

    async def all_of(self, asked: Sequence[tuple[Task, Prompts]]) -> Sequence[Outcome]:
        """The regions of each task, or why it has none, in the order of the tasks."""
        turns = asyncio.Semaphore(AT_ONCE)
        deadline = asyncio.get_running_loop().time() + ANSWER_SECONDS
        return await asyncio.gather(*(self._outcome(*each, turns, deadline) for each in asked))

    async def _outcome(
        self, task: Task, prompts: Prompts, turns: asyncio.Semaphore, deadline: float
    ) -> Outcome:
        try:
            async with asyncio.timeout_at(deadline), turns:
                return [region for image in prompts() for region in await self._regions(task, image)]
        except TimeoutError:
            error: SampollError | Refusal = TransientJobError(
                f"was not done within {ANSWER_SECONDS:g} s: ask for fewer tasks at a time"
            )
        except (SampollError, Refusal) as raised:
            error = raised
        _log(f"task {task.id}", error)
        return error

    async def _regions(self, task: Task, asked: AskedImage) -> Regions:
        tag, control = self.config.for_image(asked.to_name)
        for prompt in asked.prompts:
            control.labels_of(prompt.label)
        engine = loaded(self.routes.engine)
        memory, images = self.exchange.memory, self.routes.needed_images()
        image = await images.image(_address(task, tag, asked), task.id, memory)
        try:
            size = await asyncio.to_thread(self._size_of, image, asked)
            content = prompt_file(asked.prompts, size)
            check_prompt_size(content, self.routes.limits.max_prompt_bytes)
            kind = BRUSH if control.is_brush else EDGES
            question = Question(image, "", content)
            delivery = await delivery_of(engine, question, kind, self.exchange.request_id)
        finally:
            memory.give_back(len(image))
        return await asyncio.to_thread(lambda: list(regions_of(tool_masks(delivery), asked, control)))

    def _size_of(self, image: bytes, asked: AskedImage) -> tuple[int, int]:
        """The (H, W) of an image as it is segmented, if that is how Label Studio shows it."""
        size, shown = image_size(image, self.routes.exif), image_size(image)
        if size is None or shown is None:
            raise BadImage("is no image that can be read (JPEG, PNG, TIFF, WebP or BMP)")
        if size != shown:
            raise BadImage(
                "is turned by its EXIF orientation, as Label Studio shows it: leave out --exif ignore"
            )
        if asked.shown_size is not None and asked.shown_size != size:
            raise BadImage(
                f"is {size[1]}x{size[0]}, and Label Studio shows one of "
                f"{asked.shown_size[1]}x{asked.shown_size[0]}"
            )
        return size


def _of_user(drawn: Sequence[Mapping[str, Any]]) -> Sequence[AskedImage]:
    asked = prompt_of_user(drawn)
    return [] if asked is None else [asked]


def _address(task: Task, tag: Images, asked: AskedImage) -> Any:
    """The address of an image in the data of a task."""
    value = task.data.get(tag.key)
    if not tag.is_list:
        return value
    index = asked.item_index or 0
    return value[index] if isinstance(value, list) and 0 <= index < len(value) else None


def _entry(regions: Sequence[Mapping[str, Any]], model: str) -> Mapping[str, Any]:
    return {"result": regions, "score": score_of(regions), "model_version": model}


def _document_in(body: bytes) -> Mapping[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the request is not JSON in UTF-8: {error}") from error
    if not isinstance(document, dict):
        raise BadRequest("the request must be a JSON object, as Label Studio sends it")
    return document


def _answer(document: Mapping[str, Any], exchange: Exchange) -> Response:
    headers = {REQUEST_ID: exchange.request_id, "Cache-Control": "no-store"}
    return Response(orjson.dumps(document), 200, headers, "application/json")


def _log(what: str, error: SampollError | Refusal) -> None:
    """Says what Label Studio does not show."""
    log.warning("Label Studio: %s: %s", what, error)


def _refuse(refusal: Refusal, request_id: str) -> Response:
    _log(f"request {request_id}", refusal)
    return response_to(refusal, request_id)


def _check_nothing(_: Headers) -> None:
    """Everyone may ask."""
