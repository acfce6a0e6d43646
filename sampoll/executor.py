"""Batches of jobs through a segmenter: one outcome for each, whatever one of them does."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sampoll.errors import JobError, OutOfMemory, SampollError, SegmentationFailed
from sampoll.interfaces import Segmenter
from sampoll.jobs import Job
from sampoll.results import Mask, Segmentation

log = logging.getLogger(__name__)

Outcome: TypeAlias = Segmentation | JobError


@dataclass(frozen=True)
class Executor:
    """Runs batches through `segmenter`; a batch that fails is halved until the culprit stands alone."""

    segmenter: Segmenter[Any]

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """One outcome a job, in order. Raises only what no job is to blame for (ModelUnavailable)."""
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
        # Outside the except clauses on purpose: a live traceback would pin the failed batch's tensors.
        if len(jobs) == 1:
            log.debug("%s: %s", jobs[0].name, failure, exc_info=failure.__cause__)
            return [failure]
        half = len(jobs) // 2
        return self.run(jobs[:half]) + self.run(jobs[half:])

    def _segment(self, jobs: Sequence[Job]) -> Sequence[Segmentation]:
        started = time.perf_counter()
        embeddings = self.segmenter.embed([job.image for job in jobs])
        embedded = time.perf_counter()
        answers = self.segmenter.decode(
            [(embedding, job.prompts) for embedding, job in zip(embeddings, jobs, strict=True)]
        )
        decoded = time.perf_counter()
        seconds = {
            "embedding": (embedded - started) / len(jobs),
            "mask_decoding": (decoded - embedded) / len(jobs),
        }
        return [self._segmentation(job, answer, seconds) for job, answer in zip(jobs, answers, strict=True)]

    def _segmentation(
        self, job: Job, answer: Sequence[Sequence[Mask]], seconds: dict[str, float]
    ) -> Segmentation:
        size = job.image.shape[0], job.image.shape[1]
        if len(answer) != len(job.prompts):
            raise SegmentationFailed(
                f"the model answered {len(answer)} of {len(job.prompts)} prompts: decode must return one "
                "list of masks a prompt"
            )
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
        )
