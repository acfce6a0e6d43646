"""A registry of the services of this user on this machine, for any source of jobs."""

import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sampoll.files.presence import (
    Describe,
    Machine,
    Presence,
    announced,
    locked_if_dead,
    new_name,
    presences,
    remove,
    sending_heartbeats,
)

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0


def directory() -> Path:
    """The registry: in XDG_RUNTIME_DIR, or, for services and cron jobs, which often lack it, in the directory
    for temporary files."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "sampoll"
    return Path(tempfile.gettempdir()) / f"sampoll-{os.geteuid()}"


class _NotPrivateError(PermissionError):
    """Other users may have written into the registry, or may read it."""


def _private_directory() -> Path:
    """The registry, if it is this user's alone, or _NotPrivateError; FileNotFoundError if there is none."""
    path = directory()
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise _NotPrivateError(f"{path} is not a directory: remove it")
    if status.st_uid != os.geteuid():
        raise _NotPrivateError(
            f"{path} belongs to user {status.st_uid}, not to user {os.geteuid()}: set XDG_RUNTIME_DIR to a "
            "directory of your own"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise _NotPrivateError(f"{path} is open to other users: chmod 700 {path}")
    return path


@contextmanager
def registered(describe: Describe) -> Iterator[None]:
    """Registers this service, with heartbeats, until the block ends. If the registry cannot be written, or is
    not this user's alone, the service runs unregistered."""
    machine = Machine.this()
    with ExitStack() as stack:
        try:
            directory().mkdir(mode=0o700, parents=True, exist_ok=True)
            path = _private_directory() / new_name(machine)
            _remove_dead_presences(path.parent, machine)
            stack.callback(_removed, path)
            stack.enter_context(announced(path, machine))
            stack.enter_context(sending_heartbeats(path, HEARTBEAT_SECONDS, describe))
        except _NotPrivateError as error:
            log.warning("`sampoll status` will not know of this service: %s", error)
        except OSError as error:
            log.debug("`sampoll status` will not know of this service: %s", error)
        yield


def services() -> list[Presence]:
    """Those that are alive; none, with a warning, if the registry is not this user's alone."""
    try:
        path = _private_directory()
    except FileNotFoundError:
        return []
    except _NotPrivateError as error:
        log.warning("services of this machine are not shown: %s", error)
        return []
    return [presence for presence in presences(path) if presence.is_alive]


def _remove_dead_presences(registry: Path, machine: Machine) -> None:
    for presence in presences(registry):
        with suppress(OSError), locked_if_dead(presence.path, machine) as dead:
            if dead:
                remove(presence.path)


def _removed(path: Path) -> None:
    with suppress(OSError):
        remove(path)
