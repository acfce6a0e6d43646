"""Values about a result without its pixels. They need no numpy, so a process that only watches others imports
none."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class SkippedPrompt:
    """A bad prompt that was left out: its index in its file, and its id, if that is valid.

    `message` is that of the error with which the pair would have failed; `field` is the path of the field.
    """

    index: int
    id: str | None
    field: str
    message: str

    def document(self) -> dict[str, int | str | None]:
        """All of it, for JSON; `skipped_prompt_of` is the inverse."""
        return {"prompt": self.index, "id": self.id, "field": self.field, "message": self.message}


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model that made a mask: its name, the device on which it ran, and, if it has weights, their sha256
    and the precision and the engine of the computation. `encoder_sha256` is that of an encoder with weights
    of its own, such as a quantized one. `detector` is the kind of the detector that finds boxes for words, if
    there is one, and `detector_sha256` the digest of its files."""

    name: str
    device: str = "cpu"
    checkpoint_sha256: str | None = None
    precision: str | None = None
    engine: str | None = None
    encoder_sha256: str | None = None
    detector: str | None = None
    detector_sha256: str | None = None


RECORDED_STAGES = ("image_decoding", "embedding", "mask_decoding")
"""The stages whose durations a record contains; it is rendered before the other stages have ended."""


@dataclass(frozen=True, slots=True)
class ResultSummary:
    """A summary of a result, without its pixels.

    `suffixes` are those of its files, except the record; `seconds` maps a stage to its duration; `scores[k]`
    are the scores of the masks of prompt k of the file. `skipped` are the bad prompts of the file.
    """

    suffixes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    scores: tuple[tuple[float, ...], ...] = ()
    skipped: tuple[SkippedPrompt, ...] = ()

    @property
    def masks(self) -> int:
        """How many masks there are."""
        return sum(map(len, self.scores))

    def published_in(self, seconds: float) -> Self:
        """A copy to which the duration of publishing is added."""
        return replace(self, seconds={**self.seconds, "publishing": seconds})


NO_SUMMARY = ResultSummary()
"""The summary of a result of which nothing is known."""
