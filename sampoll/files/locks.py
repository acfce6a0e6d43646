"""Locks on open files. The kernel releases a lock when the process that holds it ends, however it ends."""

import errno
import os
import stat
from typing import IO, Any

from sampoll.core.errors import SystemUnsupported

try:
    import fcntl
except ImportError:  # Windows, for example
    HAS_LOCKS = False
else:
    HAS_LOCKS = True


def require_locks() -> None:
    """SystemUnsupported if this system has no locks: without them, no process knows whether another one is
    still alive, and jobs could be lost or done twice."""
    if not HAS_LOCKS:
        raise SystemUnsupported(
            "a watched folder needs file locks (Python's module fcntl), which this system does not have: "
            "run sampoll on Linux, in a container or in WSL"
        )


def lock_file(file: IO[Any] | int, *, wait: bool = False, shared: bool = False) -> None:
    """Locks an open file, or the directory of a descriptor, until it is closed. Without `wait`,
    BlockingIOError if another process holds it; any other OSError if its file system, or this system, has no
    locks."""
    if not HAS_LOCKS:
        raise OSError(errno.ENOSYS, "this system has no file locks")
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))


def keep_readers_from_locking(file: IO[Any]) -> None:
    """Takes the right to read a lock file of this user from those who may not write it: any process that can
    open a file can lock it, and keep the lock."""
    if not HAS_LOCKS:
        return
    status = os.fstat(file.fileno())
    mode = stat.S_IMODE(status.st_mode)
    readers_only = mode & 0o044 & ~((mode & 0o022) << 1)
    if readers_only and status.st_uid == os.geteuid():
        os.fchmod(file.fileno(), mode & ~readers_only)
