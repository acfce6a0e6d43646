"""Prompts as the tokens that mask decoders take, and batches of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sampoll.core.jobs import LowResMask, Prompt

PADDING, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = -1, 2, 3
"""Kinds of tokens, besides the labels of points, 0 and 1."""
TOKENS_AT_ONCE = 2**14
"""Limit for the tokens of a batch: each takes about 16 KiB in the decoder."""

Tokens: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Places (T, 2) in image pixels, and kinds (T,)."""
TokensOf: TypeAlias = Callable[[Prompt], Tokens]


def prompt_tokens(prompt: Prompt) -> Tokens:
    """A prompt as SAM was trained on it.

    Points without a box are followed by a padding token, which the model knows, so prompts must not be padded
    to equal lengths with more of them. A mask alone has no tokens.
    """
    tokens = [(point.x, point.y, point.label) for point in prompt.points]
    if prompt.box:
        box = prompt.box
        tokens += [(box.x0, box.y0, BOX_TOP_LEFT), (box.x1, box.y1, BOX_BOTTOM_RIGHT)]
    elif prompt.points:
        tokens.append((0, 0, PADDING))
    columns = np.array(tokens, np.float64).reshape(-1, 3)
    return columns[:, :2], columns[:, 2].astype(np.int64)


def sam2_tokens(prompt: Prompt) -> Tokens:
    """A prompt as SAM 2 was trained on it: the corners of the box, the points, and always a padding token,
    which the model knows. A mask alone has no tokens."""
    tokens: list[tuple[float, float, int]] = []
    if prompt.box:
        box = prompt.box
        tokens += [(box.x0, box.y0, BOX_TOP_LEFT), (box.x1, box.y1, BOX_BOTTOM_RIGHT)]
    tokens += [(point.x, point.y, point.label) for point in prompt.points]
    if tokens:
        tokens.append((0, 0, PADDING))
    columns = np.array(tokens, np.float64).reshape(-1, 3)
    return columns[:, :2], columns[:, 2].astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One prompt, with the index of its image, and its own index among the prompts of that image."""

    image: int
    prompt: int
    places: NDArray[np.float64] = field(repr=False)  # (T, 2), in image pixels
    kinds: NDArray[np.int64] = field(repr=False)  # (T,)
    mask: LowResMask | None = field(repr=False)
    refine: int


def batches(
    prompts: Sequence[Sequence[Prompt]], at_most: int, tokens_of: TokensOf = prompt_tokens
) -> Iterator[list[Task]]:
    """Batches of at most `at_most` prompts of all images, except "everything" prompts; of fewer if they have
    very many tokens. In a batch, all have the same number of tokens and of refinements, and all or none have
    a mask."""
    buckets: dict[tuple[int, bool, int], list[Task]] = {}
    for image, own in enumerate(prompts):
        for number, prompt in enumerate(own):
            if prompt.everything is None:
                places, kinds = tokens_of(prompt)
                task = Task(image, number, places, kinds, prompt.mask, prompt.refine)
                buckets.setdefault((len(kinds), prompt.mask is None, prompt.refine), []).append(task)
    for (tokens, _, _), tasks in buckets.items():
        together = max(1, min(at_most, TOKENS_AT_ONCE // max(1, tokens)))
        for start in range(0, len(tasks), together):
            yield tasks[start : start + together]
