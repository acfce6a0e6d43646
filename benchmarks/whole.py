"""From files to files with SAM, by sampoll and by the reference loop: photographs of 1080p, one box each."""

import shutil
import time
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import Sam

from benchmarks.ellipses import SamWithEllipses, ellipse
from benchmarks.models import sam_predictor
from benchmarks.pipeline import HEIGHT, WIDTH, serve_folder, write_pairs
from benchmarks.reference import Predict, poll_once
from sampoll.core.jobs import RgbImage
from sampoll.core.results import BoolMask
from sampoll.engine.embedding_cache import EmbeddingCache
from sampoll.models.shared.segmenter import PromptableSegmenter


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
    predict = with_an_ellipse(sam, device)
    _write(root, images, ".prompt")
    begun = time.perf_counter()
    poll_once(root / "in", root / "out", predict)
    return (time.perf_counter() - begun) / images


def with_an_ellipse(sam: Sam, device: torch.device) -> Predict:
    """segment_anything's own predictor, whose mask is replaced by an ellipse."""
    predict = sam_predictor(sam, device)

    def predicted(image: RgbImage, prompt: dict[str, Any]) -> tuple[BoolMask, float]:
        predict(image, prompt)
        return ellipse((image.shape[0], image.shape[1])), 0.9

    return predicted


def _write(root: Path, images: int, prompt_suffix: str) -> None:
    shutil.rmtree(root, ignore_errors=True)
    write_pairs(root / "in", prompt_suffix, count=images, width=WIDTH, height=HEIGHT)
    (root / "out").mkdir()
