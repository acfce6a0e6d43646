"""sampoll: images and prompts in, Segment Anything masks out.

The names below are what a segmenter, a format or a transport of one's own needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sampoll.interfaces import Format, Segmenter, Transport
    from sampoll.jobs import Box, Point, Prompt, RgbImage, Submission
    from sampoll.results import Artifact, Delivery, Mask, ModelInfo, Segmentation

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
    "Artifact": "sampoll.results",
    "Box": "sampoll.jobs",
    "Delivery": "sampoll.results",
    "Format": "sampoll.interfaces",
    "Mask": "sampoll.results",
    "ModelInfo": "sampoll.results",
    "Point": "sampoll.jobs",
    "Prompt": "sampoll.jobs",
    "RgbImage": "sampoll.jobs",
    "Segmentation": "sampoll.results",
    "Segmenter": "sampoll.interfaces",
    "Submission": "sampoll.jobs",
    "Transport": "sampoll.interfaces",
}


def __getattr__(name: str) -> Any:
    # On demand, so that `sampoll --help` does not wait for numpy.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
