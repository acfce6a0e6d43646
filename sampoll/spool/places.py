"""The directories of a spool as they were when it was opened: whether a mount of one came or went since."""

from pathlib import Path

from sampoll.core.errors import InputUnavailable, OutputUnavailable
from sampoll.files.files import identity_of
from sampoll.files.mounts import mount_point_of
from sampoll.spool.layout import Layout


def mount_points(layout: Layout) -> set[Path]:
    """The mount points of the directories."""
    return {mount_point_of(directory) for directory in (layout.input, layout.output, *_kept(layout))}


def missing_mount(expected: set[Path]) -> Path | None:
    """A mount point of these at which nothing is mounted now."""
    return next((path for path in sorted(expected) if mount_point_of(path) != path), None)


class Places:
    """What the directories are, and where they are mounted, at the time when this is made.

    The input and the output are known by themselves. Those that finished and failed inputs move to may be
    moved away by users, and are known by the mounts that they are on.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._input, self._output = identity_of(layout.input), identity_of(layout.output)
        mounts = {directory: mount_point_of(directory) for directory in _kept(layout)}
        self._mounts = {directory: (point, identity_of(point)) for directory, point in mounts.items()}

    def raise_if_lost(self) -> None:
        """InputUnavailable or OutputUnavailable if a directory is gone, or another one lies in its place."""
        if identity_of(self._layout.input) != self._input:
            raise InputUnavailable(f"the input {self._layout.input} has gone or was replaced")
        if identity_of(self._layout.output) != self._output:
            raise OutputUnavailable(f"the output {self._layout.output} has gone or was replaced")
        for directory, (mount_point, identity) in self._mounts.items():
            if identity_of(mount_point) != identity:
                raise OutputUnavailable(f"the filesystem of {directory} has gone or was replaced")


def _kept(layout: Layout) -> list[Path]:
    """The directories to which inputs move."""
    return [layout.failed, *([layout.done] if layout.done else [])]
