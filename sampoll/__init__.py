"""sampoll: images and prompts in, Segment Anything masks out.

The names below are what programs need: to segment images (`load`), or for a segmenter, a format, an importer
or a transport of one's own. All else may move.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sampoll.app.python.model import Model, load
    from sampoll.app.python.result import Result
    from sampoll.app.run_transport import run_transport
    from sampoll.core.errors import (
        BadImage,
        BadPrompt,
        InputUnavailable,
        JobError,
        ModelUnavailable,
        OutOfMemory,
        SampollError,
        Stopped,
        TransientJobError,
        UsageError,
    )
    from sampoll.core.events import (
        Event,
        JobDeferred,
        JobDone,
        JobFailed,
        JobLost,
        JobSkipped,
        JobStarted,
        Listener,
        ignore_events,
    )
    from sampoll.core.jobs import (
        Box,
        Everything,
        LowResMask,
        Point,
        Prompt,
        RgbImage,
        SkippedPrompt,
        Submission,
    )
    from sampoll.core.protocols import (
        CacheableSegmenter,
        DatasetFormat,
        Format,
        Results,
        Segmenter,
        StreamingSegmenter,
        TakeMasks,
        Transport,
    )
    from sampoll.core.results import (
        Artifact,
        Delivery,
        Mask,
        ModelInfo,
        PixelBox,
        ResultSummary,
        Segmentation,
    )
    from sampoll.inputs.importers.base import AnnotatedImage

__all__ = [
    "AnnotatedImage",
    "Artifact",
    "BadImage",
    "BadPrompt",
    "Box",
    "CacheableSegmenter",
    "DatasetFormat",
    "Delivery",
    "Event",
    "Everything",
    "Format",
    "InputUnavailable",
    "JobDeferred",
    "JobDone",
    "JobError",
    "JobFailed",
    "JobLost",
    "JobSkipped",
    "JobStarted",
    "Listener",
    "LowResMask",
    "Mask",
    "Model",
    "ModelInfo",
    "ModelUnavailable",
    "OutOfMemory",
    "PixelBox",
    "Point",
    "Prompt",
    "Result",
    "ResultSummary",
    "Results",
    "RgbImage",
    "SampollError",
    "Segmentation",
    "Segmenter",
    "SkippedPrompt",
    "Stopped",
    "StreamingSegmenter",
    "Submission",
    "TakeMasks",
    "TransientJobError",
    "Transport",
    "UsageError",
    "ignore_events",
    "load",
    "run_transport",
]

_HOMES = {
    "sampoll.core.errors": (
        "BadImage",
        "BadPrompt",
        "InputUnavailable",
        "JobError",
        "ModelUnavailable",
        "OutOfMemory",
        "SampollError",
        "Stopped",
        "TransientJobError",
        "UsageError",
    ),
    "sampoll.core.events": (
        "Event",
        "JobDeferred",
        "JobDone",
        "JobFailed",
        "JobLost",
        "JobSkipped",
        "JobStarted",
        "Listener",
        "ignore_events",
    ),
    "sampoll.core.jobs": (
        "Box",
        "Everything",
        "LowResMask",
        "Point",
        "Prompt",
        "RgbImage",
        "SkippedPrompt",
        "Submission",
    ),
    "sampoll.core.protocols": (
        "CacheableSegmenter",
        "DatasetFormat",
        "Format",
        "Results",
        "Segmenter",
        "StreamingSegmenter",
        "TakeMasks",
        "Transport",
    ),
    "sampoll.core.results": (
        "Artifact",
        "Delivery",
        "Mask",
        "ModelInfo",
        "PixelBox",
        "ResultSummary",
        "Segmentation",
    ),
    "sampoll.inputs.importers.base": ("AnnotatedImage",),
    "sampoll.app.python.model": ("Model", "load"),
    "sampoll.app.python.result": ("Result",),
    "sampoll.app.run_transport": ("run_transport",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    # On demand, so that `sampoll --help` does not wait for numpy.
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
