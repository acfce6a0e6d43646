"""What an OSError about one path costs: a pair is passed over, or a job is held up or fails. An error of the
storage as a whole is raised."""

import errno
import os
import time
from collections.abc import Mapping
from pathlib import Path

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import JobError, OutputFailed, UnmovableInput, is_refusal
from sampoll.core.filenames import split_name
from sampoll.core.names import folder_of, printable
from sampoll.files.files import is_accessible
from sampoll.spool.layout import Layout
from sampoll.spool.obstacles import Obstacles
from sampoll.spool.places import Places
from sampoll.spool.probe import StorageCheck
from sampoll.spool.scan import Sighting
from sampoll.spool.state import JobState

HELD_UP_SECONDS = 120.0
"""How long a job waits whose files could not be moved to where they belong."""


class HeldUp(Exception):
    """A job cannot be ended, because a path of its own cannot be used; it waits in deferred/, without a
    strike. `is_new`: it did not before."""

    def __init__(self, path: str, job_id: str, error: UnmovableInput, *, is_new: bool) -> None:
        super().__init__(str(error))
        self.path = path
        self.job_id = job_id
        self.error = error
        self.is_new = is_new


class PathErrors:
    """The errors of one spool. Each method raises the error of storage that fails as a whole."""

    def __init__(self, layout: Layout, places: Places, settings: SpoolSettings) -> None:
        self._layout = layout
        self._storage = StorageCheck(layout, places, settings.min_free_bytes)
        self._held_up: set[str] = set()
        self.obstacles = Obstacles(retries=settings.continuous)

    def pass_over_pair(self, stem: str, error: OSError) -> None:
        """Passes over a pair that could not be claimed, or all pairs of its folder if that is the cause."""
        folder = folder_of(stem)
        directory = self._layout.input / folder
        if folder and (error.errno == errno.EXDEV or not is_accessible(directory, os.W_OK | os.X_OK)):
            refusal = UnmovableInput(f"its files cannot be moved: {error.strerror}")
            self._pass_over(f"{folder}/*", error, refusal)
        else:
            refusal = UnmovableInput(f"cannot be moved: {error.strerror}", file=_file_of(error))
            self._pass_over(stem, error, refusal)

    def pass_over_own(self, path: Path, error: OSError) -> None:
        """Passes over a path inside the spool, such as a job that another user has left."""
        place = str(path.relative_to(self._layout.input))
        if not self.obstacles.blocks(place):
            self._pass_over(place, error, UnmovableInput(f"cannot be taken over: {error.strerror}"))

    def _pass_over(self, path: str, error: OSError, refusal: JobError) -> None:
        self._storage.raise_unless_of_one_path(error)
        self.obstacles.note(path, refusal, time.monotonic())

    def is_passed_over(self, stem: str) -> bool:
        """Whether the pair of this path without extensions could not be moved, and is not to be tried now."""
        return self.obstacles.blocks_any((stem, f"{folder_of(stem)}/*"))

    def movable(self, sightings: Mapping[str, Sighting]) -> Mapping[str, Sighting]:
        """The files that are not passed over."""
        if not self.obstacles:
            return sightings
        return {
            name: sighting
            for name, sighting in sightings.items()
            if not self.is_passed_over(split_name(name)[0])
        }

    def raise_unless_of_one_path(self, error: OSError) -> None:
        """Returns if the storage can be used otherwise."""
        self._storage.raise_unless_of_one_path(error)

    def held_up(self, state: JobState, error: OSError) -> HeldUp:
        """The error of a job whose files cannot be moved out of the spool, and that waits now."""
        is_new = state.job_id not in self._held_up
        self._held_up.add(state.job_id)
        reason = UnmovableInput(f"cannot be moved out of the spool: {_path_of(error)}: {error.strerror}")
        return HeldUp(state.path, state.job_id, reason, is_new=is_new)

    def output_failed(self, error: OSError) -> OutputFailed:
        """The error of a job whose files cannot be published."""
        if not is_refusal(error):
            raise error
        self._storage.raise_unless_of_one_path(error)
        return OutputFailed(f"cannot be published: {_path_of(error)}: {error.strerror}")


def _path_of(error: OSError) -> str:
    """The path that an error is about, the target of a move."""
    path = error.filename2 or error.filename
    return "" if path is None else printable(os.fsdecode(path))


def _file_of(error: OSError) -> str | None:
    return None if error.filename is None else Path(os.fsdecode(error.filename)).name
