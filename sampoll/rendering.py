"""Segmentations as files in memory, whatever a format does."""

from collections.abc import Sequence

from sampoll.errors import OutputFailed
from sampoll.interfaces import Format
from sampoll.results import Artifact, Segmentation


def rendered(formats: Sequence[Format], segmentation: Segmentation) -> tuple[Artifact, ...]:
    """The files of every format, in order; OutputFailed if one cannot be made."""
    artifacts: list[Artifact] = []
    try:
        for form in formats:
            artifacts.extend(form.render(segmentation, tuple(artifacts)))
    except Exception as error:
        raise OutputFailed(f"no output could be made: {type(error).__name__}: {error}") from error
    return tuple(artifacts)
