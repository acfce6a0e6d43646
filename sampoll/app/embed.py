"""`sampoll embed`: computes embeddings in advance and keeps them in files."""

import hashlib
import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from sampoll.app.assembly import load_model, named, service_of
from sampoll.app.signals import outside_the_main_thread, stopping_on_signals
from sampoll.config.settings import Settings
from sampoll.core.errors import BadImage, Interrupted, JobError, ModelUnavailable, StorageTrouble, UsageError
from sampoll.core.jobs import Exif, Job, Submission
from sampoll.core.results import Delivery
from sampoll.core.summary import CommandSummary
from sampoll.engine.embedding_cache import EmbeddingCache
from sampoll.inputs.decode import decode_image
from sampoll.inputs.discovery import image_files, read_image
from sampoll.monitoring.progress_bar import Progress, progress

log = logging.getLogger(__name__)


def embed_images(
    settings: Settings, paths: Sequence[Path], *, show_progress: bool
) -> tuple[int, CommandSummary]:
    """Embeds the images, also those in folders, that --embedding-cache does not contain yet; returns the exit
    code and a summary. Raises SampollError if it cannot work at all."""
    if settings.model.embedding_cache is None:
        raise UsageError("no directory for embeddings is set: give --embedding-cache DIR")
    settings = named(settings)
    model, limits = settings.model, settings.limits
    images = list(image_files(paths))
    stop, began = Event(), time.monotonic()
    with progress("image", len(images), is_shown=show_progress) as bar, stopping_on_signals(stop.set):
        loaded = load_model(model)
        embeddings = loaded.embeddings
        if embeddings is None:
            raise ModelUnavailable(f"--model {model.model} has no embeddings that could be kept")
        transport = _ImageFiles(images, embeddings, limits.max_image_bytes, bar)
        decode = partial(_without_prompts, max_pixels=limits.max_pixels, exif=model.exif)
        service = service_of(settings, transport, loaded, decode, formats=())
        outside_the_main_thread(partial(service.run, stop))
    figures = {"embedded": transport.embedded, "known": transport.known, "failed": transport.failed}
    seconds = time.monotonic() - began
    line = f"{', '.join(f'{count} {what}' for what, count in figures.items())} in {seconds:.1f} s"
    summary = CommandSummary(line, {**figures, "seconds": round(seconds, 3)})
    if embeddings.has_failed_writes:
        raise StorageTrouble(
            f"{summary}; not all of them could be kept in {model.embedding_cache}: see above"
        )
    if stop.is_set():
        return Interrupted.exit_code, summary
    return (JobError.exit_code if transport.failed else 0), summary


class _ImageFiles:
    """A transport of images without prompts. It only counts deliveries: the service keeps the embeddings."""

    def __init__(
        self, images: Sequence[Path], embeddings: EmbeddingCache[Any], max_image_bytes: int, bar: Progress
    ) -> None:
        self._images = images
        self._embeddings = embeddings
        self._max_image_bytes = max_image_bytes
        self._bar = bar
        self.embedded = self.known = self.failed = 0

    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        for path in self._images:
            if stop.is_set():
                return
            try:
                submission = self._submission(path)
            except BadImage as error:
                self._fail(error)
                continue
            if self._embeddings.get(submission.image_sha256) is None:
                yield [submission]
            else:
                self.known += 1
                self._bar.advance()

    def _submission(self, path: Path) -> Submission:
        content = read_image(path, self._max_image_bytes)
        return Submission(
            id=uuid.uuid4().hex,
            name=str(path),
            image_name=str(path),
            prompt_name="",
            image=content,
            prompt=b"",
            image_sha256=hashlib.sha256(content).hexdigest(),
        )

    def begin(self, submissions: Sequence[Submission]) -> None:
        pass

    def reserve(self, submission: Submission, suffixes: Sequence[str]) -> str:
        return submission.name

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        self.embedded += len(deliveries)
        self._bar.advance(len(deliveries))

    def reject(self, submission: Submission, error: JobError) -> None:
        self._fail(error)

    def close(self) -> None:
        pass

    def _fail(self, error: JobError) -> None:
        log.error("%s", error)
        self.failed += 1
        self._bar.fail()


def _without_prompts(submission: Submission, max_pixels: int, exif: Exif) -> Job:
    started = time.perf_counter()
    image = decode_image(submission.image, submission.image_name, max_pixels, exif)
    return Job(
        id=submission.id,
        name=submission.name,
        image=image,
        image_sha256=submission.image_sha256,
        prompts=(),
        decoding_seconds=time.perf_counter() - started,
    )
