"""A registry of the services of this user on this machine, for any source of jobs."""

import logging
import os
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


@contextmanager
def registered(describe: Describe) -> Iterator[None]:
    """Registers this service, with heartbeats, until the block ends. If the registry cannot be written, the
    service runs unregistered."""
    machine = Machine.this()
    path = directory() / new_name(machine)
    with ExitStack() as stack:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.parent.stat().st_uid != os.geteuid():
                raise PermissionError(f"{path.parent} is somebody else's")
            _remove_dead_presences(machine)
            stack.callback(_removed, path)
            stack.enter_context(announced(path, machine))
            stack.enter_context(sending_heartbeats(path, HEARTBEAT_SECONDS, describe))
        except OSError as error:
            log.debug("`sampoll status` will not know of this service: %s", error)
        yield


def services() -> list[Presence]:
    """Those that are alive."""
    return [presence for presence in presences(directory()) if presence.is_alive]


def _remove_dead_presences(machine: Machine) -> None:
    for presence in presences(directory()):
        with suppress(OSError), locked_if_dead(presence.path, machine) as dead:
            if dead:
                remove(presence.path)


def _removed(path: Path) -> None:
    with suppress(OSError):
        remove(path)
