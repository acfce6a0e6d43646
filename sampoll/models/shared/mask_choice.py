"""Which of the masks that a model gives for a prompt is the answer, over arrays of numpy.

The decoders in torch choose in the same way, and before a mask is drawn. Shapes: P prompts; C masks a prompt,
SAM's one for a single mask and three for several.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
MaskPolicy: TypeAlias = Literal["best", "first", "single"]
"""Of the three masks that a model gives for a prompt: the one with the highest predicted IoU, or the first;
or the one mask that it gives when asked for a single one."""
CANDIDATES: dict[MaskPolicy, slice] = {"best": slice(1, 4), "first": slice(1, 2), "single": slice(0, 1)}
"""Of the four masks that the tokens give."""
STABILITY_DELTA, STABLE = 0.05, 0.98
"""SAM 2's: a single mask is stable if so few of its pixels change when the threshold of the logits moves by
STABILITY_DELTA up and down."""

Choice: TypeAlias = Callable[[Floats, Floats, MaskPolicy], tuple[Floats, Floats]]
"""Of logits (P, 4, h, w) and predicted IoUs (P, 4), those of the mask that the policy chooses: (P, h, w) and
(P,)."""


def sam_choice(logits: Floats, scores: Floats, policy: MaskPolicy) -> tuple[Floats, Floats]:
    """SAM's Choice."""
    candidates = CANDIDATES[policy]
    return _of_rows(logits, scores, candidates.start + scores[:, candidates].argmax(axis=1))


def sam2_choice(logits: Floats, scores: Floats, policy: MaskPolicy) -> tuple[Floats, Floats]:
    """SAM 2's Choice: a single mask that is not stable is the best of the other three instead."""
    if policy != "single":
        return sam_choice(logits, scores, policy)
    best = 1 + scores[:, CANDIDATES["best"]].argmax(axis=1)
    return _of_rows(logits, scores, np.where(_is_stable(logits[:, 0]), 0, best))


def _of_rows(logits: Floats, scores: Floats, chosen: NDArray[np.int64]) -> tuple[Floats, Floats]:
    rows = np.arange(len(chosen))
    return logits[rows, chosen], scores[rows, chosen]


def _is_stable(logits: Floats) -> NDArray[np.bool_]:
    """Which of the masks of logits (P, h, w) are stable; an empty one is."""
    inside = (logits > STABILITY_DELTA).sum(axis=(1, 2)).astype(np.float32)
    around = (logits > -STABILITY_DELTA).sum(axis=(1, 2)).astype(np.float32)
    share = np.divide(inside, around, out=np.ones_like(inside), where=around > 0)
    stable: NDArray[np.bool_] = share >= np.float32(STABLE)
    return stable
