"""Runs code in a Python that lacks what only POSIX has: `python -m support.without_posix CODE ARGUMENTS`.

No program can import the modules below. The functions and flags are missing for sampoll alone: its libraries
use them where the system is called Linux.
"""

import builtins
import os
import signal
import sys
from types import ModuleType
from typing import Any

MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
MISSING = {
    "os": {
        *("chown", "fchmod", "fork", "getegid", "geteuid", "getgid", "getgroups", "getuid", "killpg"),
        *("memfd_create", "mkfifo", "pread", "sched_getaffinity", "statvfs", "statvfs_result", "sync"),
        *("uname", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK"),
    },
    "signal": {"SIGHUP", "SIGPIPE", "SIGQUIT", "SIGURG", "pthread_sigmask"},
}


def _without(module: ModuleType, missing: set[str]) -> ModuleType:
    other = ModuleType(module.__name__)
    other.__dict__.update({name: value for name, value in vars(module).items() if name not in missing})
    return other


def _remove() -> None:
    missing: dict[str, Any] = dict.fromkeys(MODULES)
    sys.modules.update(missing)  # with None there, importing them fails
    reduced = {module.__name__: _without(module, MISSING[module.__name__]) for module in (os, signal)}
    usual = builtins.__import__

    def import_module(name: str, importer: Any = None, *rest: Any, **more: Any) -> Any:
        is_ours = importer is not None and importer.get("__name__", "").startswith("sampoll")
        return reduced[name] if is_ours and name in reduced else usual(name, importer, *rest, **more)

    vars(builtins)["__import__"] = import_module


if __name__ == "__main__":
    _remove()
    exec(sys.argv.pop(1))
