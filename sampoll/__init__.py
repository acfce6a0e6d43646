"""sampoll: images and prompts in, Segment Anything masks out.

The names below are what a segmenter, a format or a transport of one's own needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sampoll.core.jobs import Box, Point, Prompt, RgbImage, Submission
    from sampoll.core.protocols import Format, Segmenter, Transport
    from sampoll.core.results import Artifact, Delivery, Mask, ModelInfo, Segmentation

__all__ = [
    "Artifact",
    "Box",
    "Delivery",
    "Format",
    "Mask",
    "ModelInfo",
    "Point",
    "Prompt",
    "RgbImage",
    "Segmentation",
    "Segmenter",
    "Submission",
    "Transport",
]

_HOMES = {
    "Artifact": "sampoll.core.results",
    "Box": "sampoll.core.jobs",
    "Delivery": "sampoll.core.results",
    "Format": "sampoll.core.protocols",
    "Mask": "sampoll.core.results",
    "ModelInfo": "sampoll.core.results",
    "Point": "sampoll.core.jobs",
    "Prompt": "sampoll.core.jobs",
    "RgbImage": "sampoll.core.jobs",
    "Segmentation": "sampoll.core.results",
    "Segmenter": "sampoll.core.protocols",
    "Submission": "sampoll.core.jobs",
    "Transport": "sampoll.core.protocols",
}


def __getattr__(name: str) -> Any:
    # On demand, so that `sampoll --help` does not wait for numpy.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
