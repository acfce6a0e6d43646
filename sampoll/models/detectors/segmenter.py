"""A segmenter of boxes together with a detector: a segmenter of words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from sampoll.core.jobs import Prompt, RgbImage
from sampoll.core.protocols import CacheableSegmenter, Segmenter, StreamingSegmenter, TakeMasks
from sampoll.core.results import Mask, ModelInfo
from sampoll.models.detectors.detector import Detector, Features, Found
from sampoll.models.shared.device_calls import DeviceCalls
from sampoll.models.shared.gathering import gathered

E = TypeVar("E")

PROMPTS_PER_CALL = 64
"""Limit for the number of prompts in one call of a segmenter that does not stream."""
PREFIX = "detector_"


@dataclass(frozen=True, slots=True, eq=False)
class DetectableEmbedding(Generic[E]):
    """One image as the segmenter sees it, and as the detector does."""

    own: E = field(repr=False)
    features: Features = field(repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the segmenter is asked for prompt number `number` of an image: the prompt itself, or a box that
    was found for its words, with the score of that."""

    number: int
    prompt: Prompt
    score: float | None = None

    def answered(self, masks: Sequence[Mask]) -> Sequence[Mask]:
        """Masks of the segmenter; those of a box that was found have its score."""
        return masks if self.score is None else [replace(mask, score=self.score) for mask in masks]


Work: TypeAlias = Sequence[tuple[DetectableEmbedding[E], Sequence[Prompt]]]


class DetectingSegmenter(Generic[E]):
    """Prompts of words become boxes, and the segmenter makes one mask of each, with the detector's score. All
    other prompts go to the segmenter as they are."""

    def __init__(
        self, segmenter: Segmenter[E], detector: Detector, device: torch.device, overlap: float
    ) -> None:
        """Of boxes for the same words whose IoU is larger than `overlap`, the best one is kept."""
        self._overlap = overlap
        self._segmenter = segmenter
        self._detector = detector
        self._device = device
        self._calls = DeviceCalls(device)

    @property
    def info(self) -> ModelInfo:
        detector = self._detector
        return replace(self._segmenter.info, detector=detector.name, detector_sha256=detector.sha256)

    def embed(self, images: Sequence[RgbImage]) -> list[DetectableEmbedding[E]]:
        with self._calls.one():
            features = self._detector.features(images)
        pairs = zip(self._segmenter.embed(images), features, strict=True)
        return [DetectableEmbedding(own, seen) for own, seen in pairs]

    def decode(self, work: Work[E]) -> list[list[list[Mask]]]:
        return gathered(self.decode_into, work)

    def decode_into(self, work: Work[E], take: TakeMasks) -> None:
        found = self._found(work, take)
        asked = [list(self._asked(image, work[image], found)) for image in range(len(work))]

        def taken(image: int, index: int, masks: Sequence[Mask]) -> None:
            own = asked[image][index]
            take(image, own.number, own.answered(masks))

        if isinstance(self._segmenter, StreamingSegmenter):
            inner = [
                (embedding.own, [each.prompt for each in of_image])
                for (embedding, _), of_image in zip(work, asked, strict=True)
            ]
            self._segmenter.decode_into(inner, taken)
            return
        for image, (embedding, _) in enumerate(work):
            for start in range(0, len(asked[image]), PROMPTS_PER_CALL):
                prompts = [each.prompt for each in asked[image][start : start + PROMPTS_PER_CALL]]
                [answers] = self._segmenter.decode([(embedding.own, prompts)])
                for index, masks in enumerate(answers, start):
                    taken(image, index, masks)

    def _found(self, work: Work[E], take: TakeMasks) -> dict[tuple[int, str], Found]:
        """What the detector finds for the words of each image, by the index of the image: for each text once,
        whatever the thresholds. Shows by calls of `take`, without masks, that it goes on."""
        asked = {
            (image, prompt.text): number
            for image, (_, prompts) in enumerate(work)
            for number, prompt in enumerate(prompts)
            if prompt.text is not None
        }
        found: dict[tuple[int, str], Found] = {}
        keys = list(asked)
        with self._calls.one():
            for index, one in self._detector.found([(work[image][0].features, text) for image, text in keys]):
                found[keys[index]] = one
                take(keys[index][0], asked[keys[index]], ())
        return found

    def _asked(
        self,
        image: int,
        work: tuple[DetectableEmbedding[E], Sequence[Prompt]],
        found: Mapping[tuple[int, str], Found],
    ) -> Iterator[Asked]:
        embedding, prompts = work
        for number, prompt in enumerate(prompts):
            if prompt.text is None:
                yield Asked(number, prompt)
                continue
            threshold = self._detector.threshold if prompt.score_thresh is None else prompt.score_thresh
            size = embedding.features.size
            for box, score in found[image, prompt.text].best(threshold, size, self._overlap):
                yield Asked(number, Prompt(box=box, label=prompt.label), score)


class CacheableDetectingSegmenter(DetectingSegmenter[E]):
    """One over a segmenter whose embeddings can be kept: those of both are kept together, so that a known
    image is neither segmented nor detected anew."""

    _segmenter: CacheableSegmenter[E]

    @property
    def embedding_key(self) -> str:
        detector = self._detector
        own = f"{detector.name}-{detector.sha256[:16]}-{detector.preprocessing}"
        return f"{self._segmenter.embedding_key}-{own}"

    @property
    def embedding_bytes(self) -> int:
        return self._segmenter.embedding_bytes + self._detector.features_bytes

    def image_size(self, embedding: DetectableEmbedding[E]) -> tuple[int, int]:
        return embedding.features.size

    def packed(self, embedding: DetectableEmbedding[E]) -> dict[str, NDArray[Any]]:
        features = embedding.features
        with self._calls.one():
            tensors = {
                f"{PREFIX}{number}": each.cpu().numpy() for number, each in enumerate(features.tensors)
            }
        sizes = np.array([features.size, features.seen_size], np.int64)
        return {**self._segmenter.packed(embedding.own), **tensors, f"{PREFIX}sizes": sizes}

    def unpacked(self, arrays: Mapping[str, NDArray[Any]]) -> DetectableEmbedding[E]:
        size, seen_size = (tuple(map(int, row)) for row in arrays[f"{PREFIX}sizes"])
        detected = {name: array for name, array in arrays.items() if name.startswith(PREFIX)}
        own = {name: array for name, array in arrays.items() if name not in detected}
        ordered = [detected[f"{PREFIX}{number}"] for number in range(len(detected) - 1)]
        if not ordered or any(array.dtype != np.float32 for array in ordered):
            raise ValueError("the features of a detector must be float32")
        with self._calls.one():
            tensors = tuple(torch.from_numpy(array).to(self._device) for array in ordered)
        features = Features(tensors, (size[0], size[1]), (seen_size[0], seen_size[1]))
        return DetectableEmbedding(self._segmenter.unpacked(own), features)
