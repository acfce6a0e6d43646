import weakref
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
import pytest
from support.images import image_of
from support.segmenters import BoxSegmenter, job_of

from sampoll.core.errors import JobError, ModelUnavailable, OutOfMemory, SegmentationFailed
from sampoll.core.jobs import Box, Job, Prompt, RgbImage
from sampoll.core.results import Mask, Segmentation
from sampoll.engine.executor import GOOD_BATCHES, Executor, Outcome

PROMPT = Prompt(box=Box(2, 3, 9, 8))
POISON_HEIGHT = 13


class Poisoned(BoxSegmenter):
    """Raises whatever `poison` makes when an image of the poison's height is in the batch."""

    def __init__(self, poison: Callable[[], Exception]) -> None:
        super().__init__()
        self._poison = poison

    def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
        embeddings = super().embed(images)
        if any(image.shape[0] == POISON_HEIGHT for image in images):
            raise self._poison()
        return embeddings


def outcomes_of(executor: Executor, jobs: list[Job]) -> list[Outcome]:
    return list(chain.from_iterable(executor.run(jobs)))


def batch(*heights: int) -> list[Job]:
    return [job_of(image_of(height, 20), PROMPT, name=f"{i}") for i, height in enumerate(heights)]


def test_a_batch_is_embedded_at_once_and_every_job_gets_its_own_masks() -> None:
    segmenter = BoxSegmenter()

    outcomes = outcomes_of(Executor(segmenter, 8), batch(20, 30, 40))

    assert segmenter.batches == [3]
    for outcome, height in zip(outcomes, (20, 30, 40), strict=True):
        assert isinstance(outcome, Segmentation)
        assert outcome.size == (height, 20)
        assert outcome.masks[0][0].pixels().sum() == 7 * 5
        assert set(outcome.seconds) == {"image_decoding", "embedding", "mask_decoding"}


@pytest.mark.parametrize("poisoned", range(5))
def test_one_bad_image_in_a_batch_fails_alone(poisoned: int) -> None:
    heights = [20] * 5
    heights[poisoned] = POISON_HEIGHT

    outcomes = outcomes_of(Executor(Poisoned(lambda: ArithmeticError("overflow")), 8), batch(*heights))

    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [SegmentationFailed if i == poisoned else Segmentation for i in range(5)]
    assert str(outcomes[poisoned]) == "the model failed: ArithmeticError: overflow"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (MemoryError(), OutOfMemory),
        (OutOfMemory("device"), OutOfMemory),
        (SegmentationFailed("said so"), SegmentationFailed),
        (KeyError("x"), SegmentationFailed),
    ],
)
def test_an_exception_of_the_model_becomes_the_error_of_the_job(
    raised: Exception, expected: type[JobError]
) -> None:
    [[outcome]] = Executor(Poisoned(lambda: raised), 8).run(batch(POISON_HEIGHT))

    assert type(outcome) is expected


def test_a_lost_model_counts_against_no_job() -> None:
    with pytest.raises(ModelUnavailable):
        list(Executor(Poisoned(lambda: ModelUnavailable("gone")), 8).run(batch(20, POISON_HEIGHT)))


class Wrong(BoxSegmenter):
    def __init__(self, masks: list[list[list[Mask]]]) -> None:
        super().__init__()
        self._masks = masks

    def decode(self, work: Sequence[tuple[RgbImage, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        return self._masks


SMALL = Mask.from_array(np.ones((2, 2), np.bool_), 1.0)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([[]], "answered 0 of 1 prompts"),
        ([[[SMALL]]], r"mask is \(2, 2\), the image \(20, 20\)"),
        ([], "the model failed: ValueError"),
    ],
)
def test_a_model_that_breaks_its_contract_fails_the_job_and_says_how(
    masks: list[list[list[Mask]]], message: str
) -> None:
    [[outcome]] = Executor(Wrong(masks), 8).run(batch(20))

    with pytest.raises(SegmentationFailed, match=message):
        raise outcome if isinstance(outcome, JobError) else AssertionError(outcome)


class Small(BoxSegmenter):
    """Has room for `room` images at once."""

    room = 2

    def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
        if len(images) > self.room:
            self.batches.append(len(images))
            raise OutOfMemory("no room")
        return super().embed(images)


def test_a_batch_that_does_not_fit_is_halved_and_later_ones_are_smaller_for_a_while() -> None:
    segmenter = Small()
    executor = Executor(segmenter, 8)

    assert not any(isinstance(outcome, JobError) for outcome in outcomes_of(executor, batch(*range(10, 18))))
    assert segmenter.batches == [8, 4, 2, 2, 4, 2, 2]
    assert executor.limit == 2

    segmenter.room = 8
    while executor.limit < 8:
        list(executor.run(batch(*range(10, 10 + executor.limit))))
    assert len(segmenter.batches) < 7 + 3 * GOOD_BATCHES


def test_the_error_of_a_batch_that_did_not_fit_does_not_keep_its_memory() -> None:
    class Tensor:
        """Stands for what a failed batch has allocated."""

    seen: list[weakref.ref[Tensor]] = []

    class Tracked(Small):
        def embed(self, images: Sequence[RgbImage]) -> list[RgbImage]:
            assert all(tensor() is None for tensor in seen)
            tensor = Tensor()
            if len(images) > self.room:
                seen.append(weakref.ref(tensor))
            return super().embed(images)

    list(Executor(Tracked(), 8).run(batch(*range(10, 18))))
    assert len(seen) == 3
