"""GrabCut: masks without weights, by Rother, Kolmogorov and Blake (2004), as OpenCV implements it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sampoll.config.settings.model import ModelSettings

if TYPE_CHECKING:
    from sampoll.models.grabcut.segmenter import GrabCutSegmenter


@dataclass(frozen=True)
class GrabCut:
    """The factory. Its attributes are those that `models.registry.Factory` describes."""

    prompts: ClassVar[tuple[str, ...]] = ("points", "box")

    def __call__(self, options: ModelSettings) -> "GrabCutSegmenter":
        from sampoll.models.grabcut.segmenter import GrabCutSegmenter

        return GrabCutSegmenter()


build = GrabCut()
