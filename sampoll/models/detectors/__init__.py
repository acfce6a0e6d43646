"""Detectors find boxes for words, and any segmenter that takes boxes makes masks of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampoll.core.errors import ModelUnavailable
from sampoll.core.protocols import CacheableSegmenter, Segmenter

if TYPE_CHECKING:
    import torch

    from sampoll.models.detectors.detector import Detector
    from sampoll.models.detectors.segmenter import DetectingSegmenter


def with_detector(
    segmenter: Segmenter[Any], directory: Path, batch_size: int, overlap: float
) -> "DetectingSegmenter[Any]":
    """`segmenter`, for words too: the detector in `directory`, as the Hugging Face Hub has it, finds boxes
    for them, on the segmenter's device. It is shown at most `batch_size` images at once. Of boxes for the
    same words whose IoU is larger than `overlap`, the best one is kept.

    ModelUnavailable if the directory does not hold a detector that is known, with all of its weights.
    """
    import torch

    from sampoll.models.detectors.segmenter import CacheableDetectingSegmenter, DetectingSegmenter

    device = torch.device(segmenter.info.device)
    detector = detector_in(directory, device, batch_size)
    if isinstance(segmenter, CacheableSegmenter):
        return CacheableDetectingSegmenter(segmenter, detector, device, overlap)
    return DetectingSegmenter(segmenter, detector, device, overlap)


def detector_in(directory: Path, device: "torch.device", batch_size: int) -> "Detector":
    """The detector that a directory holds; as `with_detector`."""
    from sampoll.models.shared.hub_model import imported_transformers, model_type_of

    kind = model_type_of(directory)
    if kind not in ("grounding-dino", "owlv2"):
        raise ModelUnavailable(
            f"--detector {directory} holds a model of the type {kind}: it must be grounding-dino or owlv2"
        )
    imported_transformers("--detector")
    if kind == "owlv2":
        from sampoll.models.detectors.owlv2 import Owlv2

        return Owlv2(directory, device, batch_size)
    from sampoll.models.detectors.grounding_dino import GroundingDino

    return GroundingDino(directory, device, batch_size)
