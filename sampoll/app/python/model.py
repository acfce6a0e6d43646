"""A model in this process: `load` it once, then `segment` one image, or many."""

import uuid
import weakref
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence, Sized
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from inspect import signature
from threading import current_thread, main_thread
from types import TracebackType
from typing import Any, NoReturn, Self, SupportsIndex, TypeAlias

from sampoll.app.assembly import common_prompt, decoding_options, format_options
from sampoll.app.in_process import InProcess, Kept
from sampoll.app.keyword_settings import settings_of
from sampoll.app.python.arguments import checked_item, checked_items, checked_name
from sampoll.app.python.result import Result, formats_of_results
from sampoll.app.python.wording import errors_in_python
from sampoll.config.fields import Setting
from sampoll.config.settings import Settings
from sampoll.core.errors import JobError, Stopped, UsageError, as_value
from sampoll.core.jobs import Submission
from sampoll.core.results import Delivery, ModelInfo
from sampoll.inputs.given_image import GivenImage, ImageArgument, given_image
from sampoll.inputs.prompt_arguments import (
    BoxArgument,
    EverythingArgument,
    MaskArgument,
    PointLabels,
    Points,
    PromptArgument,
    prompt_content,
)
from sampoll.models.registry import AUTO

ItemError: TypeAlias = JobError | UsageError
"""What is wrong with one of many items."""
Outcomes: TypeAlias = Generator[Result | ItemError, None, None]

SECTIONS = ("model", "masks", "outputs", "limits", "prompts")
OTHER_SETTINGS = ("prompt", "default-prompt", "queue-bytes", "io-threads")
"""The settings that have an effect in a program."""
BATCHES_AHEAD, IMAGES_AHEAD = 8, 16
"""`segment_many` takes so many batches, and at least so many images, before it needs their results."""
BYTES_AHEAD = 512 * 2**20
"""It takes no more while the images and masks on their way, one aside, have more than this."""
EXIT_SECONDS = 10.0
"""A process that ends without closing its model waits so long for the batch that is running."""


def load(model: str = AUTO, **settings: Any) -> "Model":
    """The model of this name, ready to segment; without a name, the one that `checkpoint` holds, and without
    both, vit_b.

    `settings` are those of `sampoll run` about models, masks, formats, limits and prompts, by their names
    with underscores: `checkpoint="vit_b.pth"`, `device="cuda"`, `min_object_size=8`. ModelUnavailable if the
    model, its weights or the device cannot be used; UsageError for an unknown setting, one of folders and
    services, or a bad value.
    """
    with errors_in_python():
        return Model(settings_of({"model": model, **settings}, is_used=_is_used))


def _is_used(setting: Setting) -> bool:
    return setting.section in SECTIONS or setting.key in OTHER_SETTINGS


@dataclass(frozen=True)
class _Asked:
    """A call whose result is on its way."""

    future: Future[Delivery]
    kept: Kept
    image: GivenImage
    settings: Settings

    @errors_in_python()
    def result(self) -> Result:
        """Waits for it; raises its JobError, or what has ended the model's service."""
        try:
            self.future.result()
        except BaseException:
            self.future.cancel()
            raise
        segmentation, path = self.kept.segmentation, self.image.path
        assert segmentation is not None
        if path is not None:
            segmentation = replace(segmentation, image=b"")
        return Result(segmentation, self.settings, path)

    @property
    def bytes(self) -> int:
        """What its image and its masks take."""
        found = self.kept.segmentation
        return self.image.bytes + (0 if found is None else found.mask_bytes)


class Model:
    """A loaded model. Several threads may call it at once: they share batches, and each image is embedded
    once while its embedding is kept.

    `close` it, or use it in a `with` block; a model that is forgotten ends with its process.
    """

    def __init__(self, settings: Settings) -> None:
        # Refused before a model is loaded.
        self._common = common_prompt(settings, decoding_options(settings))
        formats_of_results(settings.outputs.names, format_options(settings))
        self._service = InProcess(settings)
        self._forgotten = weakref.finalize(self, _end, self._service)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            "a Model cannot be copied or pickled: share it between threads, or load it in each process"
        )

    def __repr__(self) -> str:
        return f"<Model {self.info.name} on {self.info.device}>"

    @property
    def info(self) -> ModelInfo:
        """Its name, device, precision, engine, and the digest of its weights."""
        return self._service.model

    def segment(
        self,
        image: ImageArgument,
        *,
        points: Points | None = None,
        point_labels: PointLabels | None = None,
        box: BoxArgument | None = None,
        mask: MaskArgument | None = None,
        refine: int | None = None,
        everything: EverythingArgument | None = None,
        text: str | None = None,
        score_thresh: float | None = None,
        label: str | None = None,
        id: str | None = None,
        prompts: Sequence[PromptArgument] | None = None,
        name: str | None = None,
    ) -> Result:
        """The masks of an image for one prompt, or for `prompts`, a list of them; without any, for the prompt
        that the settings have for all images.

        `image` is an array of uint8, of shape (H, W, 3), RGB, or (H, W), gray; or the path of an image file,
        its content, or an image of Pillow. `points` are (x, y) in image pixels, with a label each: 1 on the
        object, which all are if `point_labels` is None, or 0 on the background. `box` is (x0, y0, x1, y1).
        The others are the fields of a prompt file; entries of `prompts` are written in either form. `name` is
        that of the result's files: the image file's, or "image".

        BadImage or BadPrompt names the argument at fault; other JobErrors if the model fails with this image;
        ModelUnavailable if it has gone; Stopped if it is closed.
        """
        given = {
            "points": points,
            "point_labels": point_labels,
            "box": box,
            "mask": mask,
            "refine": refine,
            "everything": everything,
            "text": text,
            "score_thresh": score_thresh,
            "label": label,
            "id": id,
            "prompts": prompts,
        }
        return self._ask(image, given, name).result()

    def segment_many(self, items: Iterable[Mapping[str, Any]], *, progress: bool = False) -> Outcomes:
        """The results of many images, in their order; each item is a mapping of arguments of `segment`.

        An item that fails has its error as its result, and the others go on. Items are taken a few batches
        before their results, so any number of them takes a bounded amount of memory. `progress` shows a bar
        on standard error. Raises what `segment` raises if the model has gone, or is closed.
        """
        outcomes = self._outcomes(checked_items(items))
        total = len(items) if isinstance(items, Sized) else None
        return _with_a_bar(outcomes, total) if progress else outcomes

    def close(self) -> None:
        """Ends the model: what was begun is finished first, and calls that wait get the error Stopped. A
        second call does nothing."""
        self._service.close()
        self._forgotten.detach()

    def _outcomes(self, items: Iterable[Mapping[str, Any]]) -> Outcomes:
        waiting: deque[_Asked | ItemError] = deque()
        try:
            for item in items:
                while not self._takes_more(waiting):
                    yield _outcome(waiting.popleft())
                waiting.append(self._ask_for(item))
            while waiting:
                yield _outcome(waiting.popleft())
        finally:  # also if the caller takes no more
            for asked in waiting:
                if isinstance(asked, _Asked):
                    asked.future.cancel()

    @errors_in_python()
    def _ask(self, image: ImageArgument, given: Mapping[str, Any], name: str | None) -> _Asked:
        """Submits a call; the values of `given` that are None are left out."""
        decoding = self._service.decoding
        has_none = all(value is None for value in given.values())
        if has_none and self._common is not None:
            prompt = self._common.content
        else:
            prompt = prompt_content(given, decoding.limits)
        source = given_image(image, decoding)
        wanted = source.name if name is None else checked_name(name)
        submission = Submission(
            id=uuid.uuid4().hex,
            name=wanted,
            image_name=source.shown,
            prompt_name="",
            image=source.content,
            prompt=prompt,
            image_sha256=source.sha256,
            image_file=source.file,
            image_path="" if wanted == source.name else source.file,
            pixels=source.pixels,
        )
        kept = Kept()
        return _Asked(self._service.submit(submission, [kept]), kept, source, self._service.settings)

    def _ask_for(self, item: Mapping[str, Any]) -> _Asked | ItemError:
        """Submits an item of many; returns what is wrong with it."""
        try:
            given = checked_item(item, _ARGUMENTS)
            return self._ask(given.pop("image"), given, given.pop("name", None))
        except Stopped:
            raise
        except (JobError, UsageError) as error:
            return as_value(error)

    def _takes_more(self, waiting: Sequence[_Asked | ItemError]) -> bool:
        if len(waiting) >= max(IMAGES_AHEAD, BATCHES_AHEAD * self._service.batch_size):
            return False
        return sum(each.bytes for each in waiting if isinstance(each, _Asked)) <= BYTES_AHEAD


_ARGUMENTS = frozenset(signature(Model.segment).parameters) - {"self"}


def _outcome(asked: _Asked | ItemError) -> Result | ItemError:
    """The result of one of many, or what is wrong with it."""
    try:
        return asked.result() if isinstance(asked, _Asked) else asked
    except Stopped:
        raise
    except JobError as error:
        return as_value(error)


def _with_a_bar(outcomes: Outcomes, total: int | None) -> Outcomes:
    # Here, because it changes tqdm's lock for the whole program.
    from sampoll.monitoring.progress_bar import progress

    with closing(outcomes), progress("image", total, is_shown=True) as bar:
        for outcome in outcomes:
            if isinstance(outcome, Result):
                bar.advance()
            else:
                bar.fail()
            yield outcome


def _end(service: InProcess) -> None:
    """Ends the service of a model that was forgotten: its own threads may be those that find it."""
    service.stop(now=True)
    if current_thread() is main_thread():
        service.close(EXIT_SECONDS)
