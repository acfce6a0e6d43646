"""What is the same for every model of a family, whatever its weights and its engine. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass

from sampoll.models.shared.mask_choice import Choice, sam2_choice, sam_choice
from sampoll.models.shared.numpy_rules import NumpyPaddedSquare, NumpyResizedSquare, NumpyRules
from sampoll.models.shared.prompt_tokens import TokensOf, prompt_tokens, sam2_tokens
from sampoll.models.shared.thresholds import SAM2_THRESHOLDS, SAM_THRESHOLDS, MaskThresholds


@dataclass(frozen=True)
class Conventions:
    """What a family needs besides the graphs of its encoder and decoder, to run without torch: the same that
    `Network` says of it."""

    rules: Callable[[int], NumpyRules]
    """Those for a square of so many pixels."""
    tokens: TokensOf = prompt_tokens
    choose: Choice = sam_choice
    gives_one_mask: bool = False
    """Whether a prompt has one candidate, which is then what "best" chooses; else there are three."""
    mask_threshold: float = 0.0
    everything: MaskThresholds = SAM_THRESHOLDS
    preprocessing: int = 1


def padded_square(side: int) -> NumpyRules:
    """SAM's rules; the decoder takes masks of a quarter of the side."""
    return NumpyPaddedSquare(side, (side // 4, side // 4))


def resized_square(side: int) -> NumpyRules:
    """SAM 2's rules; the decoder takes masks of a quarter of the side."""
    return NumpyResizedSquare(side, side // 4)


SAM = Conventions(padded_square)
SAM_HQ = Conventions(padded_square, gives_one_mask=True)
SAM2 = Conventions(resized_square, tokens=sam2_tokens, choose=sam2_choice, everything=SAM2_THRESHOLDS)
