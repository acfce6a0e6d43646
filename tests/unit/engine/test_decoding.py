import weakref
from collections.abc import Sequence
from itertools import chain

import numpy as np
import pytest
from support.images import image_of
from support.segmenters import BoxSegmenter, job_of

from sampoll.core.errors import BadPrompt, JobError, OutOfMemory, SegmentationFailed
from sampoll.core.events import Event, Progressed
from sampoll.core.jobs import Box, Job, Prompt, RgbImage
from sampoll.core.protocols import TakeMasks
from sampoll.core.results import Mask, Segmentation
from sampoll.engine import decoding
from sampoll.engine.decoding import PROMPTS_PER_CALL, decoded
from sampoll.engine.executor import Executor
from sampoll.engine.progress import no_progress

SIZE = (24, 32)
MASK_BYTES = 24 * 4


def boxes(count: int) -> list[Prompt]:
    """Each has a mask of its own."""
    return [Prompt(box=Box(n % 20, n // 20 % 20, n % 20 + 3, n // 20 % 20 + 2)) for n in range(count)]


class Counting(BoxSegmenter):
    """It remembers how many prompts of how many images each call had."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[int]] = []

    def decode(self, work: Sequence[tuple[RgbImage, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        self.calls.append([len(prompts) for _, prompts in work])
        return super().decode(work)


class Streaming(Counting):
    """It hands on its masks in two parts, and from the last prompt to the first."""

    def decode_into(self, work: Sequence[tuple[RgbImage, Sequence[Prompt]]], take: TakeMasks) -> None:
        answers = self.decode(work)
        for image in reversed(range(len(work))):
            for prompt in reversed(range(len(work[image][1]))):
                take(image, prompt, [])
                for mask in answers[image][prompt]:
                    take(image, prompt, [mask])


def masks_of(segmenter: BoxSegmenter, *work: list[Prompt], max_bytes: int = 2**30) -> list[list[list[Mask]]]:
    images = [image_of(*SIZE, seed) for seed in range(len(work))]
    return decoded(
        segmenter, list(zip(images, work, strict=True)), [SIZE] * len(work), max_bytes, no_progress
    )


def assert_expected(answers: list[list[list[Mask]]], *work: list[Prompt]) -> None:
    for own, prompts in zip(answers, work, strict=True):
        for masks, prompt in zip(own, prompts, strict=True):
            assert prompt.box is not None
            rows, columns = np.nonzero(masks[0].pixels())
            assert (columns.min(), rows.min(), len(rows)) == (prompt.box.x0, prompt.box.y0, 6)


@pytest.mark.parametrize("segmenter", [Counting(), Streaming()], ids=["plain", "streaming"])
def test_a_few_prompts_of_several_images_are_decoded_in_one_call(segmenter: Counting) -> None:
    work = [boxes(3), [], boxes(5)]

    assert_expected(masks_of(segmenter, *work), *work)

    assert [sum(call) for call in segmenter.calls] == [8]


def test_many_prompts_come_in_several_calls_and_keep_their_answers() -> None:
    work = [boxes(PROMPTS_PER_CALL - 1), boxes(2 * PROMPTS_PER_CALL), boxes(2)]
    segmenter = Counting()

    assert_expected(masks_of(segmenter, *work), *work)

    assert segmenter.calls == [[PROMPTS_PER_CALL - 1, 1], [PROMPTS_PER_CALL], [PROMPTS_PER_CALL - 1, 1], [1]]


def test_a_segmenter_that_streams_gets_all_prompts_at_once() -> None:
    work = [boxes(PROMPTS_PER_CALL - 1), boxes(2 * PROMPTS_PER_CALL)]
    segmenter = Streaming()

    assert_expected(masks_of(segmenter, *work), *work)

    assert segmenter.calls == [[len(prompts) for prompts in work]]


def test_no_call_makes_more_masks_than_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "UNCOMPRESSED_BYTES", 3 * MASK_BYTES)
    segmenter = Counting()

    assert_expected(masks_of(segmenter, boxes(7)), boxes(7))

    assert segmenter.calls == [[3], [3], [1]]


@pytest.mark.parametrize("segmenter", [Counting(), Streaming()], ids=["plain", "streaming"])
def test_masks_that_are_many_are_compressed(segmenter: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "UNCOMPRESSED_BYTES", 3 * MASK_BYTES)

    answers = masks_of(segmenter, boxes(50))

    assert_expected(answers, boxes(50))
    kept = [mask for masks in answers[0] for mask in masks]
    assert sum(not isinstance(mask.bits, bytes) for mask in kept) <= 3
    assert sum(mask.nbytes for mask in kept) < 50 * MASK_BYTES / 3


def test_masks_that_are_few_are_kept_as_they_came() -> None:
    [[[mask]]] = masks_of(Counting(), boxes(1))

    assert not isinstance(mask.bits, bytes)


def test_an_image_whose_masks_take_too_much_memory_fails_and_says_what_to_change() -> None:
    with pytest.raises(BadPrompt, match=r"^prompts: .* more than 500 bytes: split the file, or raise --max"):
        masks_of(Streaming(), boxes(50), max_bytes=500)


def test_if_the_masks_of_several_images_are_too_large_none_of_them_fails() -> None:
    with pytest.raises(OutOfMemory):
        masks_of(Streaming(), boxes(20), boxes(20), max_bytes=500)


def test_images_whose_masks_do_not_fit_together_are_decoded_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "UNCOMPRESSED_BYTES", 0)
    jobs = [
        job_of(image_of(*SIZE, seed), *boxes(count), name=str(seed))
        for seed, count in enumerate([9, 90, 9, 9])
    ]

    outcomes = chain.from_iterable(Executor(Streaming(), 8, max_mask_bytes=800).run(jobs))

    assert [type(outcome) for outcome in outcomes] == [Segmentation, BadPrompt, Segmentation, Segmentation]


def test_the_outcomes_of_one_half_are_handed_on_before_the_other_half_is_decoded() -> None:
    segmenter = Streaming()
    jobs = [job_of(image_of(*SIZE, seed), *boxes(12), name=str(seed)) for seed in range(2)]
    outcomes = Executor(segmenter, 8, max_mask_bytes=20 * MASK_BYTES).run(jobs)

    next(outcomes)

    assert [len(call) for call in segmenter.calls] == [2, 1]


def test_no_image_is_kept_until_the_outcomes_of_others_are_taken() -> None:
    jobs = [job_of(image_of(*SIZE, seed), *boxes(12), name=str(seed)) for seed in range(4)]
    images = [weakref.ref(job.image) for job in jobs]
    outcomes = Executor(Streaming(), 8, max_mask_bytes=30 * MASK_BYTES).run(jobs[:])
    jobs.clear()

    next(outcomes)

    assert [image() is None for image in images] == [True, True, False, False]


def test_a_failed_job_keeps_no_masks_alive() -> None:
    [[outcome]] = Executor(Streaming(), 8, max_mask_bytes=500).run([job_of(image_of(*SIZE), *boxes(50))])

    assert isinstance(outcome, BadPrompt)
    assert outcome.__traceback__ is None


class Silent(Streaming):
    def decode_into(self, work: Sequence[tuple[RgbImage, Sequence[Prompt]]], take: TakeMasks) -> None:
        take(0, 0, [])


def test_a_prompt_that_a_segmenter_leaves_out_fails_its_job() -> None:
    [[outcome]] = Executor(Silent(), 8).run([job_of(image_of(*SIZE), *boxes(3))])

    with pytest.raises(SegmentationFailed, match="answered 1 of 3 prompts"):
        raise outcome if isinstance(outcome, JobError) else AssertionError(outcome)


def progress_of(segmenter: BoxSegmenter, seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """The signs of progress while the masks of 200 prompts take so many seconds each."""
    clock = [1000.0]
    monkeypatch.setattr("sampoll.engine.progress.time.monotonic", lambda: clock[0])
    single = decoding._Answers.take

    def take(answers: decoding._Answers, image: int, prompt: int, masks: Sequence[Mask]) -> None:
        clock[0] += seconds
        single(answers, image, prompt, masks)

    monkeypatch.setattr(decoding._Answers, "take", take)
    events: list[Event] = []
    job: Job = job_of(image_of(*SIZE), *boxes(200))
    [[outcome]] = Executor(segmenter, 8, emit=events.append).run([job])
    assert isinstance(outcome, Segmentation)
    return [event for event in events if isinstance(event, Progressed)]


@pytest.mark.parametrize("segmenter", [Counting(), Streaming()], ids=["plain", "streaming"])
def test_a_long_decode_reports_progress(segmenter: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(progress_of(segmenter, 2, monkeypatch)) >= 200


def test_a_short_decode_reports_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress_of(Streaming(), 0.0005, monkeypatch) == []
