"""The masks of a batch from any segmenter, in bounded memory."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

from sampoll.core.errors import BadPrompt, JobError, OutOfMemory, SegmentationFailed
from sampoll.core.jobs import Prompt
from sampoll.core.protocols import Segmenter, StreamingSegmenter
from sampoll.core.results import Mask
from sampoll.engine.progress import Advance

Work: TypeAlias = Sequence[tuple[Any, Sequence[Prompt]]]
"""The embedding and the prompts of each image."""
Size: TypeAlias = tuple[int, int]
"""(H, W) of an image."""

UNCOMPRESSED_BYTES = 128 * 2**20
"""The masks of a batch are kept as they come while they take no more than this, and compressed then."""
PROMPTS_PER_CALL = 64
"""Limit for the number of prompts in one call of a segmenter that does not stream."""


def decoded(
    segmenter: Segmenter[Any], work: Work, sizes: Sequence[Size], max_bytes: int, advance: Advance
) -> list[list[list[Mask]]]:
    """The masks of each prompt of each image, of these sizes; calls `advance` after each part of them.

    If they take more than `max_bytes`, raises OutOfMemory, or BadPrompt if there is one image only.
    SegmentationFailed if the segmenter leaves a prompt out.
    """
    answers = _Answers([len(prompts) for _, prompts in work], max_bytes, advance)
    if isinstance(segmenter, StreamingSegmenter):
        segmenter.decode_into(work, answers.take)
    else:
        for call in _calls(work, sizes):
            _decode_some(segmenter, work, call, answers)
    return answers.complete()


class _Answers:
    """Collects masks as they come, and compresses them if they are many."""

    def __init__(self, prompts: Sequence[int], max_bytes: int, advance: Advance) -> None:
        """`prompts` are the numbers of prompts of each image."""
        self._masks: list[list[list[Mask] | None]] = [[None] * count for count in prompts]
        self._max_bytes = max_bytes
        self._advance = advance
        self._bytes = 0

    def take(self, image: int, prompt: int, masks: Sequence[Mask]) -> None:
        taken = self._masks[image][prompt] or []
        self._masks[image][prompt] = taken
        for mask in masks:
            kept = mask if self._bytes + mask.nbytes <= UNCOMPRESSED_BYTES else mask.compressed()
            self._bytes += kept.nbytes
            if self._bytes > self._max_bytes:
                raise self._too_large()
            taken.append(kept)
        self._advance()

    def complete(self) -> list[list[list[Mask]]]:
        """The masks of each prompt of each image; SegmentationFailed if a prompt has no answer."""
        return [_all_answered(answers) for answers in self._masks]

    def _too_large(self) -> JobError:
        if len(self._masks) > 1:
            return OutOfMemory("not enough memory for the masks of so many images")
        return BadPrompt(
            f"their masks take more than {self._max_bytes} bytes: split the file, or raise --max-mask-bytes",
            field="prompts",
        )


def _all_answered(answers: Sequence[list[Mask] | None]) -> list[list[Mask]]:
    known = [masks for masks in answers if masks is not None]
    if len(known) != len(answers):
        raise SegmentationFailed(
            f"the model answered {len(known)} of {len(answers)} prompts: decode must return one "
            "list of masks a prompt"
        )
    return known


def _calls(work: Work, sizes: Sequence[Size]) -> Iterator[list[tuple[int, int]]]:
    """All prompts, as the indexes of their images and their own, in groups for one call each."""
    group: list[tuple[int, int]] = []
    group_bytes = 0
    for image, ((_, prompts), (height, width)) in enumerate(zip(work, sizes, strict=True)):
        mask_bytes = height * ((width + 7) // 8)
        for number in range(len(prompts)):
            is_full = len(group) == PROMPTS_PER_CALL or group_bytes + mask_bytes > UNCOMPRESSED_BYTES
            if group and is_full:
                yield group
                group, group_bytes = [], 0
            group.append((image, number))
            group_bytes += mask_bytes
    if group:
        yield group


def _decode_some(
    segmenter: Segmenter[Any], work: Work, call: Sequence[tuple[int, int]], answers: _Answers
) -> None:
    """Has the prompts of one call decoded, and adds their masks to `answers`."""
    by_image = [
        (image, [number for _, number in several]) for image, several in groupby(call, key=itemgetter(0))
    ]
    some = [(work[image][0], tuple(work[image][1][n] for n in numbers)) for image, numbers in by_image]
    for (image, numbers), answer in zip(by_image, segmenter.decode(some), strict=True):
        if len(answer) == len(numbers):  # otherwise they are found to be unanswered
            for number, masks in zip(numbers, answer, strict=True):
                answers.take(image, number, masks)
