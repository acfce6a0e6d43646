"""sampoll: images and prompts in, Segment Anything masks out.

The names below are what a segmenter of one's own needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sampoll.interfaces import Segmenter
    from sampoll.jobs import Box, Point, Prompt, RgbImage
    from sampoll.results import Mask, ModelInfo

__all__ = ["Box", "Mask", "ModelInfo", "Point", "Prompt", "RgbImage", "Segmenter"]

_HOMES = {
    "Box": "sampoll.jobs",
    "Mask": "sampoll.results",
    "ModelInfo": "sampoll.results",
    "Point": "sampoll.jobs",
    "Prompt": "sampoll.jobs",
    "RgbImage": "sampoll.jobs",
    "Segmenter": "sampoll.interfaces",
}


def __getattr__(name: str) -> Any:
    # On demand, so that `sampoll --help` does not wait for numpy.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
