"""From files to files with SAM, by sampoll and by the reference loop: photographs of 1080p, one box each."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import Sam

from benchmarks.models import sam_predictor
from benchmarks.pipeline import Ellipses, ellipse, serve_folder, write_pairs
from benchmarks.reference import poll_once
from sampoll.core.jobs import Prompt, RgbImage
from sampoll.core.results import BoolMask, Mask, ModelInfo
from sampoll.engine.embedding_cache import EmbeddingCache
from sampoll.models.shared.embedding import Embedding
from sampoll.models.shared.segmenter import PromptableSegmenter

WIDTH, HEIGHT = 1920, 1080


class SamWithEllipses:
    """Does all that SAM does, and answers with ellipses: masks of random weights are noise, whose contours
    are longer than those of any real object."""

    def __init__(self, sam: PromptableSegmenter) -> None:
        self._sam = sam

    @property
    def info(self) -> ModelInfo:
        return self._sam.info

    def embed(self, images: Sequence[RgbImage]) -> list[Embedding]:
        return self._sam.embed(images)

    def decode(self, work: Sequence[tuple[Embedding, Sequence[Prompt]]]) -> list[list[list[Mask]]]:
        self._sam.decode(work)
        return Ellipses().decode([(embedding.original_size, prompts) for embedding, prompts in work])


def by_sampoll(
    root: Path,
    segmenter: PromptableSegmenter,
    images: int,
    *,
    batch_size: int = 1,
    executors: int = 1,
    embeddings: EmbeddingCache[Any] | None = None,
) -> float:
    """Seconds an image, the model being loaded."""
    _write(root, images, ".json")
    taken = serve_folder(
        root, SamWithEllipses(segmenter), batch_size, executors=executors, embeddings=embeddings
    )
    return taken / images


def by_the_loop(root: Path, sam: Sam, device: torch.device, images: int) -> float:
    """The same for the loop that people ran before."""
    predict = sam_predictor(sam, device)

    def with_an_ellipse(image: RgbImage, prompt: dict[str, Any]) -> tuple[BoolMask, float]:
        predict(image, prompt)
        return ellipse((image.shape[0], image.shape[1])), 0.9

    _write(root, images, ".prompt")
    begun = time.perf_counter()
    poll_once(root / "in", root / "out", with_an_ellipse)
    return (time.perf_counter() - begun) / images


def _write(root: Path, images: int, prompt_suffix: str) -> None:
    shutil.rmtree(root, ignore_errors=True)
    write_pairs(root / "in", prompt_suffix, count=images, width=WIDTH, height=HEIGHT)
    (root / "out").mkdir()
