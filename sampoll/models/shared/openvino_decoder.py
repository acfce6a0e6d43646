"""A mask decoder that OpenVINO runs, in float32, with arrays of numpy. Imports no torch.

Shapes as in `decoder`: I images, P prompts, T tokens a prompt, L image tokens.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sampoll.models.shared.conventions import Conventions
from sampoll.models.shared.mask_choice import CANDIDATES, Floats, MaskPolicy
from sampoll.models.shared.openvino_graph import CompiledGraph, compiled

if TYPE_CHECKING:
    import openvino

OF_IMAGE, WITH_MASKS, OF_PROMPTS = "image", "masks", "prompts"
GRAPHS = (OF_IMAGE, WITH_MASKS, OF_PROMPTS)
"""What a decoder is converted to: what it computes of the levels of an image; the same for prompts with
masks; and the masks of prompts."""
PRECISION = "fp32"


class DecoderGraphs(NamedTuple):
    """The graphs of a decoder. That of prompts with masks, which are few, is compiled for the first of
    them."""

    of_image: CompiledGraph
    of_prompts: CompiledGraph
    with_masks: "openvino.Model"


def compiled_decoder(graphs: Mapping[str, "openvino.Model"]) -> DecoderGraphs:
    """The graphs with these names of GRAPHS."""
    return DecoderGraphs(
        compiled(graphs[OF_IMAGE], PRECISION), compiled(graphs[OF_PROMPTS], PRECISION), graphs[WITH_MASKS]
    )


class OneImage(NamedTuple):
    """As `decoder.ImageSide`, of one image: (1, L, D), (1, L, 3 E) and further levels (1, ...)."""

    tokens: Floats
    projected: Floats
    finer: tuple[Floats, ...]


class OpenVinoDecoder:
    """Low-res logits and predicted IoUs, those of the decoder in torch up to rounding in float32."""

    def __init__(self, graphs: DecoderGraphs, conventions: Conventions) -> None:
        self._conventions = conventions
        self._graphs = graphs

    @functools.cached_property
    def _with_masks(self) -> CompiledGraph:
        return compiled(self._graphs.with_masks, PRECISION)

    def image_side(self, embeddings: Sequence[tuple[Floats, ...]]) -> list[OneImage]:
        """What each image's levels, (C, h, w), become once for all its prompts."""
        sides = []
        for levels in embeddings:
            tokens, projected, *finer = self._graphs.of_image(*(level[None] for level in levels))
            sides.append(OneImage(tokens, projected, tuple(finer)))
        return sides

    def __call__(
        self,
        images: Sequence[OneImage],
        image_of: NDArray[np.int64],
        places: Floats,
        kinds: NDArray[np.int64],
        policy: MaskPolicy,
        masks: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        """Logits (P, h, w) and predicted IoUs (P,), of the mask that `policy` chooses; as `Decoder`."""
        logits, scores = self.all_masks(images, image_of, places, kinds, masks)
        return self._conventions.choose(logits, scores, policy)

    def every_candidate(
        self,
        images: Sequence[OneImage],
        image_of: NDArray[np.int64],
        places: Floats,
        kinds: NDArray[np.int64],
    ) -> tuple[Floats, Floats]:
        """The same, of each mask from which "best" chooses: (P, C, h, w) and (P, C)."""
        logits, scores = self.all_masks(images, image_of, places, kinds)
        if self._conventions.gives_one_mask:
            logits, scores = self._conventions.choose(logits, scores, "best")
            return logits[:, None], scores[:, None]
        several = CANDIDATES["best"]
        return logits[:, several], scores[:, several]

    def all_masks(
        self,
        images: Sequence[OneImage],
        image_of: NDArray[np.int64],
        places: Floats,
        kinds: NDArray[np.int64],
        masks: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        """Logits (P, 4, h, w) and predicted IoUs (P, 4), of all four masks."""
        parts: list[tuple[Any, ...]] = []
        for image, group in itertools.groupby(range(len(image_of)), lambda row: int(image_of[row])):
            rows = list(group)
            some = slice(rows[0], rows[-1] + 1)
            mask = None if masks is None else masks[some]
            parts.append(self._of_one(images[image], places[some], kinds[some], mask))
        logits, scores = (
            np.concatenate(each) if len(parts) > 1 else each[0] for each in zip(*parts, strict=True)
        )
        return logits, scores

    def _of_one(
        self, image: OneImage, places: Floats, kinds: NDArray[np.int64], masks: Floats | None
    ) -> tuple[NDArray[Any], ...]:
        tokens, projected, row_of = image.tokens, image.projected, np.zeros(len(places), np.int64)
        if masks is not None:
            tokens, projected = self._with_masks(tokens, masks)
            row_of = np.arange(len(places))
        return self._graphs.of_prompts(tokens, projected, row_of, places, kinds, *image.finer)
