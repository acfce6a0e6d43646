"""Submissions of requests over HTTP, and what comes of them."""

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Protocol, TypeAlias, TypeVar

from starlette.requests import Request

from sampoll.core.jobs import Submission
from sampoll.core.results import Delivery
from sampoll.transports.http.body import Gone
from sampoll.transports.http.exchange import Exchange
from sampoll.transports.http.refusals import later
from sampoll.transports.http.request import Question

T = TypeVar("T")


class Engine(Protocol):
    """The service that has the model."""

    def submit(self, submission: Submission, kind: str) -> Future[Delivery]:
        """The future of what an answer of this kind consists of; `cancel` withdraws the submission. Raises,
        or gives to the future: Overloaded if there is no room, ImageUnknown if the image has to be sent, and
        Stopped if nothing more is taken."""


FindEngine: TypeAlias = Callable[[], Engine | None]
"""None while the model is being loaded."""


def loaded(find_engine: FindEngine) -> Engine:
    """The engine; a Refusal while the model is being loaded."""
    engine = find_engine()
    if engine is None:
        raise later("the model is being loaded: send it again later")
    return engine


async def answer_of(engine: Engine, question: Question, kind: str, exchange: Exchange) -> Delivery:
    """What an answer of this kind consists of. Raises SampollError if there is none; if the client goes
    before that, withdraws the submission and raises Gone."""
    return await while_connected(delivery_of(engine, question, kind, exchange.request_id), exchange.request)


async def delivery_of(engine: Engine, question: Question, kind: str, name: str) -> Delivery:
    """As `answer_of`, under this name, whether or not the client stays; if it is cancelled, withdraws the
    submission."""
    submitted = asyncio.ensure_future(asyncio.to_thread(_submitted, question, engine, kind, name))
    try:
        future = await asyncio.shield(submitted)
    except asyncio.CancelledError:
        submitted.add_done_callback(_withdraw)
        raise
    return await asyncio.wrap_future(future)


def _withdraw(submitted: "asyncio.Future[Future[Delivery]]") -> None:
    if not submitted.cancelled() and submitted.exception() is None:
        submitted.result().cancel()


async def while_connected(work: Coroutine[Any, Any, T], request: Request) -> T:
    """The outcome of `work`; if the client goes before that, cancels it and raises Gone. The body of the
    request must have been received."""
    outcome = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    either: set[asyncio.Future[Any]] = {outcome, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if outcome.done():
            return outcome.result()
        raise Gone
    finally:
        gone.cancel()
        outcome.cancel()


def _submitted(question: Question, engine: Engine, kind: str, name: str) -> Future[Delivery]:
    submission = Submission(
        id=uuid.uuid4().hex,
        name=name,
        image_name="image",
        prompt_name="prompt",
        image=question.image,
        prompt=question.prompt,
        image_sha256=question.image_sha256 or hashlib.sha256(question.image).hexdigest(),
        image_file=question.image_file,
    )
    return engine.submit(submission, kind)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
