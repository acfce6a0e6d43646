"""The mounts that directories are on, as Linux lists them; on other systems only what `stat` tells.

The format of the list: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
"""

import os
from collections.abc import Iterator
from pathlib import Path


def mountinfo() -> str:
    """The list of the mounts that this process sees; empty where the system has none."""
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def mounts_in(text: str) -> Iterator[tuple[str, str]]:
    """The mount point and the filesystem type of each mount of the list `text`."""
    for line in text.splitlines():
        place, _, source = line.partition(" - ")
        # Spaces and such are written as octal escapes.
        escaped = place.split(" ")[4].encode("utf-8", "surrogateescape")
        yield os.fsdecode(escaped.decode("unicode_escape").encode("latin-1")), source.split(" ")[0]


def filesystem_of(directory: str, text: str) -> str:
    """The filesystem type of an absolute path, according to the list `text`; "" if unknown."""
    best, kind = "", ""
    for mount_point, mounted in mounts_in(text):
        inside = directory == mount_point or directory.startswith(mount_point.rstrip("/") + "/")
        if inside and len(mount_point) >= len(best):  # of two mounts at one path, the later one is used
            best, kind = mount_point, mounted
    return kind


def mount_point_of(directory: Path) -> Path:
    """The mount point that an absolute path, which need not exist, is below."""
    known = {mount_point for mount_point, _ in mounts_in(mountinfo())}
    candidates = (directory, *directory.parents)
    return next((path for path in candidates if os.fspath(path) in known or path.is_mount()), candidates[-1])
