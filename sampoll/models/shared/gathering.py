"""What a segmenter that streams returns at once."""

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from sampoll.core.jobs import Prompt
from sampoll.core.protocols import TakeMasks
from sampoll.core.results import Mask

E = TypeVar("E")
Work: TypeAlias = Sequence[tuple[E, Sequence[Prompt]]]


def gathered(decode_into: Callable[[Work[E], TakeMasks], None], work: Work[E]) -> list[list[list[Mask]]]:
    """The masks of each prompt of each image, as `decode_into` hands them on."""
    answers: list[list[list[Mask]]] = [[[] for _ in prompts] for _, prompts in work]

    def take(image: int, prompt: int, masks: Sequence[Mask]) -> None:
        answers[image][prompt] += masks

    decode_into(work, take)
    return answers
