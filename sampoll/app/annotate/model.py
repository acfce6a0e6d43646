"""The model of a page: embeds images when they are opened, and answers prompts for them."""

import logging
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from threading import Event, RLock
from typing import Any

import orjson

from sampoll.app.annotate.opened_images import OpenedImage, OpenedImages
from sampoll.app.annotate.previews import PreviewMask
from sampoll.app.in_process import InProcess
from sampoll.config.settings import Settings
from sampoll.core.errors import ImageUnknown, Overloaded, SampollError
from sampoll.core.jobs import Submission
from sampoll.core.protocols import Format
from sampoll.core.results import Delivery
from sampoll.models.registry import prompts_taken

log = logging.getLogger(__name__)


class PageModel:
    """`service` is None while the model is being loaded. Thread-safe."""

    def __init__(self, settings: Settings, images: OpenedImages) -> None:
        """Each submission is a batch of its own, so that no click waits for another image."""
        alone = settings.model.model_copy(update={"batch_size": 1, "max_wait_seconds": 0.0})
        self._settings = settings.model_copy(update={"model": alone})
        self._images = images
        self._kinds = prompts_taken(settings.model)
        self._stop = Event()
        self._lock = RLock()  # to cancel an embedding calls what waits for it
        self._shown: OpenedImage | None = None
        self._ahead: OpenedImage | None = None
        self._embedding: Future[Any] | None = None  # of the last image that was embedded ahead
        self.service: InProcess | None = None

    def run(self) -> None:
        """Loads the model, and returns after `stop`; raises what has ended it."""
        service = InProcess(self._settings, answers_while_embedding=True)
        with self._lock:
            self.service = service
            if self._shown is not None:
                self._embed(self._shown)
        log.info("the model is ready", extra={"event": "ready"})
        if self._stop.is_set():
            service.stop()
        service.ended.result()

    def stop(self) -> None:
        """Finishes what has begun; may be called from any thread."""
        self._stop.set()
        if self.service is not None:
            self.service.stop()

    def show(self, image: OpenedImage) -> None:
        """Embeds an image that is shown now, before all that was to be prepared."""
        with self._lock:
            self._shown = image
            if self._ahead is not image:
                self._withdraw_ahead()
            self._embed(image)

    def prepare(self, image: OpenedImage) -> None:
        """Embeds an image that is shown next, instead of the one that was to be next before, once no other
        image is being embedded: prompts must not wait."""
        with self._lock:
            if image is not self._ahead:
                self._withdraw_ahead()
                self._ahead = image
                self._embed_ahead()

    def _embed_ahead(self, _: object = None) -> None:
        with self._lock:
            shown = None if self._shown is None else self._shown.embedding
            busy = next((each for each in (shown, self._embedding) if each and not each.done()), None)
            if self._ahead is None:
                return
            if busy is not None:
                busy.add_done_callback(self._embed_ahead)
                return
            self._embed(self._ahead)
            self._embedding = self._ahead.embedding

    def needs_pixels(self, image: OpenedImage) -> bool:
        """Whether nothing can be answered for an image, because neither its pixels nor its embedding are
        kept."""
        return image.pixels is None and not (self.service and self.service.knows(image.sha256))

    def submit(self, submission: Submission, kind: str) -> Future[Delivery]:
        """The mask of a prompt for an image that was opened, as `PreviewMask` renders it, whatever `kind` is.
        As the routes of HTTP need it."""
        image = self._images.by_digest(submission.image_sha256)
        if self.needs_pixels(image):
            raise ImageUnknown("is not kept any more: open it again", field="image_sha256")
        answer: Future[Delivery] = Future()

        def ask(_: object) -> None:
            if answer.cancelled():
                return
            try:
                asked = self._submit(replace(submission, pixels=image.pixels), [PreviewMask()])
            except SampollError as error:
                answer.set_exception(error)
                return
            asked.add_done_callback(lambda done: _hand_on(done, answer))

        if image.embedding is None or image.embedding.cancelled():
            ask(None)
        else:
            image.embedding.add_done_callback(ask)
        return answer

    def results(self, submission: Submission, formats: Sequence[Format]) -> Delivery:
        """What the formats make of an image and its prompts. Raises SampollError; Overloaded while the model
        is being loaded."""
        if self.service is None:
            raise Overloaded("the model is being loaded: try again later")
        return self._submit(submission, formats).result()

    def _submit(self, submission: Submission, formats: Sequence[Format]) -> Future[Delivery]:
        assert self.service is not None
        return self.service.submit(submission, formats, waits=False)

    def _embed(self, image: OpenedImage) -> None:
        """Under the lock. A prompt in the middle of the image has it embedded, and whatever the first call of
        the decoder has to prepare is then done too."""
        service, begun = self.service, image.embedding
        prompt = _PROMPTS.get(next((kind for kind in self._kinds if kind in _PROMPTS), ""))
        if service is None or not service.keeps_embeddings or prompt is None or image.pixels is None:
            return
        if (begun is not None and not begun.cancelled()) or service.knows(image.sha256):
            return
        submission = Submission(
            id=uuid.uuid4().hex,
            name="image",
            image_name="image",
            prompt_name="prompt",
            image=b"",
            prompt=orjson.dumps(prompt(image.size)),
            image_sha256=image.sha256,
            pixels=image.pixels,
        )
        try:
            image.embedding = self._submit(submission, ())
        except SampollError as error:  # it is embedded with its first prompt then
            log.debug("an image is not embedded ahead: %s", error)

    def _withdraw_ahead(self) -> None:
        withdrawn, self._ahead = self._ahead, None
        if withdrawn is not None and withdrawn.embedding is not None:
            withdrawn.embedding.cancel()


def _hand_on(done: Future[Delivery], answer: Future[Delivery]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    error = done.exception()
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(done.result())


_PROMPTS: dict[str, Callable[[tuple[int, int]], Any]] = {
    "points": lambda size: {"points": [{"x": size[1] // 2, "y": size[0] // 2, "label": 1}]},
    "box": lambda size: {"box": {"x0": 0, "y0": 0, "x1": size[1], "y1": size[0]}},
}
"""A prompt that fits any image of this (H, W), of each kind."""
