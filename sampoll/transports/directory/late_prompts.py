"""Prompts that come too late: their images were taken without a prompt before."""

import logging
from collections.abc import Sequence

from sampoll.core.filenames import is_image, is_prompt, split_name
from sampoll.core.names import printable
from sampoll.spool.state import JobState

log = logging.getLogger(__name__)

MAX_REMEMBERED = 10_000
"""Images that were taken without a prompt, the latest of them; a prompt that comes after more is not told."""


class LatePrompts:
    """Names such prompts in the log, each once. They wait in the input like any other half."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}  # the names of images by their paths without extensions

    def note_taken(self, job: JobState) -> None:
        """Remembers the image of a job, if that has no prompt of its own."""
        if any(map(is_prompt, job.files)):
            return
        folder = f"{job.folder}/" if job.folder else ""
        for image in filter(is_image, job.files):
            self._taken[folder + split_name(image)[0]] = image
        while len(self._taken) > MAX_REMEMBERED:
            del self._taken[next(iter(self._taken))]

    def tell(self, halves: Sequence[str]) -> None:
        """Names those of the halves of a scan that are such prompts."""
        if not self._taken:
            return
        waiting = {split_name(name)[0] for name in halves if is_image(name)}
        for prompt in filter(is_prompt, halves):
            stem = split_name(prompt)[0]
            if stem not in waiting and (image := self._taken.pop(stem, None)):
                log.warning(
                    "%s came after %s was taken with --default-prompt, and is not used: to use it, put the "
                    "image beside it again",
                    printable(prompt),
                    printable(image),
                )
