"""Renders segmentations as files in memory; any exception of a format becomes OutputFailed."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from sampoll.core.errors import OutputFailed
from sampoll.core.protocols import Format
from sampoll.core.results import Artifact, Segmentation
from sampoll.engine.progress import Advance, no_progress, watched

Clean: TypeAlias = Callable[[Segmentation], Segmentation]
"""Cleans masks before they are rendered; the number of masks must not change."""


def unchanged(segmentation: Segmentation) -> Segmentation:
    return segmentation


def rendered(
    formats: Sequence[Format],
    segmentation: Segmentation,
    clean: Clean = unchanged,
    advance: Advance = no_progress,
) -> tuple[Artifact, ...]:
    """The files of every format, in order; calls `advance` for each mask that is cleaned or rendered.
    OutputFailed if a file cannot be made."""
    artifacts: list[Artifact] = []
    try:
        if clean is not unchanged:
            segmentation = clean(watched(segmentation, advance))
        segmentation = watched(segmentation, advance)
        for form in formats:
            artifacts.extend(form.render(segmentation, tuple(artifacts)))
    except Exception as error:
        raise OutputFailed(f"no output could be made: {type(error).__name__}: {error}") from error
    return tuple(artifacts)
