"""Runs batches of jobs through a segmenter: each job gets an outcome, even if another one fails."""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from sampoll.config.settings.limits import MASK_BYTES
from sampoll.core.errors import JobError, OutOfMemory, SampollError, SegmentationFailed, as_value
from sampoll.core.events import BatchDone, Listener, ignore_events
from sampoll.core.jobs import Job, KnownImage
from sampoll.core.protocols import Segmenter
from sampoll.core.results import Mask, Segmentation
from sampoll.engine.decoding import decoded
from sampoll.engine.embedding_cache import EmbeddingCache
from sampoll.engine.progress import Progress

log = logging.getLogger(__name__)

Outcome: TypeAlias = Segmentation | JobError


GOOD_BATCHES = 32
"""After so many batches without running out of memory, a reduced batch size is doubled."""


class Executor:
    """Runs batches through `segmenter`; a batch that fails is halved until the failing job is isolated.

    After a batch was too large for the memory, `limit` is temporarily smaller than `batch_size`.
    """

    def __init__(
        self,
        segmenter: Segmenter[Any],
        batch_size: int,
        embeddings: EmbeddingCache[Any] | None = None,
        emit: Listener = ignore_events,
        max_mask_bytes: int = MASK_BYTES,
    ) -> None:
        """`embeddings` is a cache that is searched before an image is embedded, and filled afterwards. The
        masks of a batch may take `max_mask_bytes`."""
        self.segmenter = segmenter
        self._emit = emit
        self._embeddings = embeddings
        self._max_mask_bytes = max_mask_bytes
        self._progress = Progress(emit)
        self.limit = self._batch_size = batch_size
        self._good_batches = 0

    def run(self, jobs: Sequence[Job]) -> Iterator[Sequence[Outcome]]:
        """One outcome per job, in order and in parts. Raises only errors that no job has caused
        (ModelUnavailable).

        The outcomes of a half are handed on before the other half is run. No reference is kept to jobs that
        are done.
        """
        outcomes = self._tried(jobs)
        if not isinstance(outcomes, JobError):
            self._grow()
            del jobs
            yield outcomes
            return
        if len(jobs) == 1:
            del jobs
            yield [outcomes]
            return
        half = len(jobs) // 2
        if isinstance(outcomes, OutOfMemory):
            self.limit, self._good_batches = min(self.limit, half), 0
            log.warning("not enough memory for %d images at once; continuing with %d", len(jobs), self.limit)
        halves = [self.run(jobs[:half]), self.run(jobs[half:])]
        del jobs
        for outcomes_of_half in halves:
            yield from outcomes_of_half

    def _tried(self, jobs: Sequence[Job]) -> list[Outcome] | JobError:
        """The outcomes, or the error of the batch."""
        try:
            return list(self._segment(jobs))
        except JobError as error:
            failure: JobError = error
        except SampollError:
            raise
        except MemoryError as error:
            failure = OutOfMemory("not enough memory for this image; it is tried again later")
            failure.__cause__ = error
        except Exception as error:  # noqa: BLE001  a model's own code may raise anything
            failure = SegmentationFailed(f"the model failed: {type(error).__name__}: {error}")
            failure.__cause__ = error
        if len(jobs) == 1:
            log.debug("%s: %s", jobs[0].name, failure, exc_info=failure.__cause__)
        return as_value(failure)

    def _grow(self) -> None:
        if self.limit == self._batch_size:
            return
        self._good_batches += 1
        if self._good_batches >= GOOD_BATCHES:
            self.limit, self._good_batches = min(2 * self.limit, self._batch_size), 0

    def _segment(self, jobs: Sequence[Job]) -> Sequence[Segmentation]:
        started = time.perf_counter()
        known = self._known(jobs)
        unknown = {
            job.image_sha256: job.image
            for job in jobs
            if job.image_sha256 not in known and not isinstance(job.image, KnownImage)
        }
        new = dict(zip(unknown, self.segmenter.embed(list(unknown.values())), strict=True)) if unknown else {}
        embeddings = {**known, **new}
        embedded = time.perf_counter()
        answers = decoded(
            self.segmenter,
            [(embeddings[job.image_sha256], job.prompts) for job in jobs],
            [job.size for job in jobs],
            self._max_mask_bytes,
            self._progress,
        )
        ended = time.perf_counter()
        self._emit(BatchDone(len(jobs), sum(job.image_sha256 in known for job in jobs)))
        if self._embeddings is not None:
            for image_sha256, embedding in new.items():
                self._embeddings.put(image_sha256, embedding)
        jobs_embedded = sum(job.image_sha256 in new for job in jobs)
        seconds = {
            job.image_sha256: {
                "embedding": (embedded - started) / jobs_embedded if job.image_sha256 in new else 0.0,
                "mask_decoding": (ended - embedded) / len(jobs),
            }
            for job in jobs
        }
        return [
            self._segmentation(job, answer, seconds[job.image_sha256])
            for job, answer in zip(jobs, answers, strict=True)
        ]

    def _known(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """The embeddings that need not be computed, by the sha256 of the image."""
        known = {}
        for job in jobs:
            if isinstance(job.image, KnownImage):
                known[job.image_sha256] = job.image.embedding
            elif self._embeddings is not None:
                # The embedding may have been cached since the image was decoded.
                embedding = self._embeddings.get(job.image_sha256)
                if embedding is not None:
                    known[job.image_sha256] = embedding
        return known

    def _segmentation(
        self, job: Job, answer: Sequence[Sequence[Mask]], seconds: dict[str, float]
    ) -> Segmentation:
        size = job.size
        for masks in answer:
            for mask in masks:
                if mask.size != size:
                    raise SegmentationFailed(f"the model's mask is {mask.size}, the image {size} (H, W)")
        return Segmentation(
            job_id=job.id,
            name=job.name,
            prompts=job.prompts,
            masks=tuple(tuple(masks) for masks in answer),
            model=self.segmenter.info,
            size=size,
            image_sha256=job.image_sha256,
            seconds={"image_decoding": job.decoding_seconds, **seconds},
            exif=job.exif,
            skipped=job.skipped,
        )
