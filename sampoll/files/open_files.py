"""Whether any process still has a file open for writing, if the operating system can tell."""

import errno
import os
import signal

from sampoll.files.files import StrPath

try:
    import fcntl
except ImportError:  # Windows, for example
    _SET_LEASE: int | None = None
else:
    _SET_LEASE = getattr(fcntl, "F_SETLEASE", None)  # Linux only


def is_being_written(path: StrPath) -> bool | None:
    """Whether any process has the file open for writing, or mapped; None where that cannot be known.

    A read lease is refused as long as there is a writer (fcntl(2), F_SETLEASE). Linux grants leases on local
    filesystems, for one's own files or with CAP_LEASE.
    """
    if _SET_LEASE is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # The kernel tells the holder of a lease that a writer opens the file. SIGIO, its default for that,
        # ends a process that does not handle it; SIGURG does not.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, _SET_LEASE, fcntl.F_RDLCK)  # ends when the file is closed
    except OSError as error:
        return True if error.errno in (errno.EAGAIN, errno.EBUSY) else None
    finally:
        os.close(descriptor)
    return False
