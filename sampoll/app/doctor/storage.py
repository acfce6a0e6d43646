"""Checks of the directories of a run: access, filesystems, free space, and events of new files."""

import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from sampoll.app.doctor.findings import Finding, error_of, ok, warning
from sampoll.config.quantities import in_units
from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import PermissionRefused, SampollError, translated_os_errors
from sampoll.core.filenames import is_searched
from sampoll.core.names import printable
from sampoll.core.wording import counted
from sampoll.files.files import is_accessible, walk
from sampoll.files.locks import require_locks
from sampoll.files.mounts import filesystem_of
from sampoll.files.space import free_bytes
from sampoll.files.watch import NETWORK_FILESYSTEMS, Watch, watches_natively
from sampoll.spool.layout import Layout
from sampoll.spool.listing import listing
from sampoll.spool.obstacles import Obstacles
from sampoll.spool.probe import probe
from sampoll.spool.survey import survey

LOW_SPACE_BYTES = 2**30
"""A disk with less free space than this gives a warning, whatever the value of --min-free."""
MAX_CHECKED_FILES = 10_000
MAX_SHOWN_OBSTACLES = 5
EVENT_SECONDS = 2.0
"""How long to wait for the event of a new file."""
INOTIFY = Path("/proc/sys/fs/inotify")
LOST_WITH_THE_MACHINE = frozenset({"tmpfs", "ramfs"})


def check_directories(settings: SpoolSettings, layout: Layout) -> Iterator[Finding]:
    """Stops at the first error, because later checks would only repeat it."""
    try:
        require_locks()
        if layout.output.exists():
            probe(layout, settings.min_free_bytes)
        else:
            _check_creatable(layout)
    except SampollError as error:
        yield error_of("directories", error)
        return
    if layout.output.exists():
        done = f"files can be written, moved and removed in {layout.input} and {layout.output}"
        yield ok("directories", done)
    else:
        yield ok("directories", f"the output {layout.output} is not there yet; a run will create it")
    yield from _mounts(layout)
    try:
        with translated_os_errors("look through", layout.input):
            yield from list(_files(layout))
    except SampollError as error:
        yield error_of("permissions", error)
        return
    for line in survey(layout.input, settings, layout.suffixes).leftovers.lines():
        yield warning("pairs", line, "")
    if settings.continuous:
        yield _events(settings, layout)


def _check_creatable(layout: Layout) -> None:
    """PermissionRefused if a run could not create the output, or could not move what is in the input."""
    parent = next(parent for parent in layout.output.parents if parent.exists())
    for directory, what in ((parent, "create the output in"), (layout.input, "move files in the input")):
        if not is_accessible(directory, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionRefused(f"cannot {what} {directory}: user {os.geteuid()} may not write there")


def _mounts(layout: Layout) -> Iterator[Finding]:
    mounts = Path("/proc/self/mountinfo")
    text = mounts.read_text(encoding="utf-8", errors="surrogateescape") if mounts.exists() else ""
    for check, directory in (("input", layout.input), ("output", layout.output), ("done", layout.done)):
        if directory is None or not directory.exists():
            continue
        kind = filesystem_of(str(directory), text) or "an unknown filesystem"
        free = free_bytes(os.statvfs(directory))
        where = f"{directory} is on {kind}, with {in_units(free)} free"
        if kind in LOST_WITH_THE_MACHINE:
            yield warning(check, where, "it is lost at the next restart; choose a directory on a disk")
        elif kind == "overlay":
            yield warning(
                check,
                where,
                "it is inside the container and is deleted with it; mount a directory or a volume there",
            )
        elif free < LOW_SPACE_BYTES:
            yield warning(check, where, "make room, or use a larger disk")
        elif kind in NETWORK_FILESYSTEMS:
            yield ok(check, f"{where}; new files of other machines are found by scans, every --rescan")
        else:
            yield ok(check, where)
    done = layout.done
    if done is not None and done.exists() and done.stat().st_dev != layout.input.stat().st_dev:
        yield ok("done", f"{done} is on another filesystem than {layout.input}: finished inputs are copied")


def _files(layout: Layout) -> Iterator[Finding]:
    """Checks whether the files and folders that wait in the input can be read and moved."""
    unreadable, foreign = [], []
    is_sticky = bool(layout.input.stat().st_mode & stat.S_ISVTX) and os.geteuid() not in (
        0,
        layout.input.stat().st_uid,
    )
    obstacles = Obstacles(retries=False)
    found = listing(
        layout.input,
        recursive=layout.recursive,
        suffixes=layout.suffixes,
        ready_suffix=None,
        obstacles=obstacles,
        now=0.0,
    )
    for count, (name, _) in enumerate(found):
        if count == MAX_CHECKED_FILES:
            break
        path = layout.input / name
        if not is_accessible(path, os.R_OK):
            unreadable.append(name)
        if is_sticky and path.lstat().st_uid != os.geteuid():
            foreign.append(name)
    for obstacle in obstacles.unreported()[:MAX_SHOWN_OBSTACLES]:
        yield warning(
            "permissions",
            f"{printable(obstacle.path)} in {layout.input} would be passed over: {obstacle.error}",
            "make it readable for this user, or move it out of the input",
        )
    if unreadable:
        yield warning(
            "permissions",
            f"{counted(len(unreadable), 'file')} in {layout.input} cannot be read by user {os.geteuid()}, "
            f"such as {unreadable[0]}",
            "run as a user who may read them, or have them written with another umask",
        )
    if foreign:
        yield warning(
            "permissions",
            f"{counted(len(foreign), 'file belongs', 'files belong')} to others in {layout.input}, such as "
            f"{foreign[0]}, and its sticky bit forbids to move them",
            f"chmod -t {layout.input}, or run as its owner",
        )
    if not unreadable and not foreign and not obstacles:
        yield ok("permissions", f"user {os.geteuid()} may read and move what is in {layout.input}")


def _events(settings: SpoolSettings, layout: Layout) -> Finding:
    """Checks whether the operating system sends events of new files."""
    by_looking = f"new files are found by scans, every {settings.rescan_seconds:g} s"
    if not watches_natively(layout.input, settings.watch):
        return ok("events", by_looking)
    folders = _folders(layout) if layout.recursive else 1
    limit = _inotify_limit("max_user_watches")
    if limit is not None and folders > limit:
        return warning(
            "events",
            f"{layout.input} has {folders} folders, and only {limit} can be watched: {by_looking}",
            f"sysctl fs.inotify.max_user_watches={2 * folders}, or --watch polling",
        )
    if _receives_event(layout):
        return ok(
            "events",
            f"the system announces new files in {layout.input}; {counted(folders, 'folder')} watched",
        )
    return warning(
        "events",
        f"no event came from {layout.input}: {by_looking}",
        f"sysctl: raise fs.inotify.max_user_instances (now {_inotify_limit('max_user_instances')}) and "
        f"max_user_watches (now {limit}); or --watch polling",
    )


def _receives_event(layout: Layout) -> bool:
    changed, trial = Event(), layout.input / f".probe-{uuid.uuid4().hex}"
    watch = Watch(layout.input, changed.set, recursive=layout.recursive)
    try:
        trial.touch()
        return changed.wait(EVENT_SECONDS)
    finally:
        trial.unlink(missing_ok=True)
        watch.close()


def _folders(layout: Layout) -> int:
    """How many folders are scanned: the input and those below it."""
    return sum(1 for _ in walk(layout.input, enters=is_searched))


def _inotify_limit(name: str) -> int | None:
    try:
        return int((INOTIFY / name).read_text())
    except (OSError, ValueError):
        return None
