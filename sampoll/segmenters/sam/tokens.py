"""Prompts as the tokens that SAM's mask decoder takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sampoll.jobs import Prompt

PADDING, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = -1, 2, 3
"""Kinds of tokens, besides the labels of points, 0 and 1."""


def prompt_tokens(prompt: Prompt) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A prompt as the model was trained on it: places (T, 2) in image pixels, and kinds (T,).

    Points without a box are followed by a padding token, which the model knows, so prompts must not be padded
    to equal lengths with more of them.
    """
    tokens = [(point.x, point.y, point.label) for point in prompt.points]
    if prompt.box:
        box = prompt.box
        tokens += [(box.x0, box.y0, BOX_TOP_LEFT), (box.x1, box.y1, BOX_BOTTOM_RIGHT)]
    else:
        tokens.append((0, 0, PADDING))
    columns = np.array(tokens, np.float64)
    return columns[:, :2], columns[:, 2].astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One prompt, and where it stands: the number of its image, and its own among the prompts of that."""

    image: int
    prompt: int
    places: NDArray[np.float64] = field(repr=False)  # (T, 2), in image pixels
    kinds: NDArray[np.int64] = field(repr=False)  # (T,)


def batches(prompts: Sequence[Sequence[Prompt]], at_most: int) -> Iterator[list[Task]]:
    """The prompts of each image, those with equally many tokens together, at most so many at once."""
    buckets: dict[int, list[Task]] = {}
    for image, own in enumerate(prompts):
        for number, prompt in enumerate(own):
            places, kinds = prompt_tokens(prompt)
            buckets.setdefault(len(kinds), []).append(Task(image, number, places, kinds))
    for tasks in buckets.values():
        for start in range(0, len(tasks), at_most):
            yield tasks[start : start + at_most]
