"""A registry of the services of this user on this machine, for any source of jobs."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sampoll.files.home import NotPrivateError, check_private, this_user
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
_ADVICE = ", or set XDG_RUNTIME_DIR to a directory of your own"


def directory() -> Path:
    """The registry: in XDG_RUNTIME_DIR, or, for services and cron jobs, which often lack it, in the directory
    for temporary files."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "sampoll"
    return Path(tempfile.gettempdir()) / f"sampoll-{this_user()}"


@contextmanager
def registered(describe: Describe) -> Iterator[None]:
    """Registers this service, with heartbeats, until the block ends. If the registry cannot be written, or is
    not this user's alone, the service runs unregistered."""
    machine, registry = Machine.this(), directory()
    path = registry / new_name(machine)
    with ExitStack() as stack:
        try:
            registry.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_private(registry)
            _remove_dead_presences(registry, machine)
            stack.callback(_removed, path)
            stack.enter_context(announced(path, machine))
            stack.enter_context(sending_heartbeats(path, HEARTBEAT_SECONDS, describe))
        except NotPrivateError as error:
            log.warning("`sampoll status` will not know of this service: %s%s", error, _ADVICE)
        except OSError as error:
            log.debug("`sampoll status` will not know of this service: %s", error)
        yield


def services() -> list[Presence]:
    """Those that are alive; none, with a warning, if the registry is not this user's alone."""
    registry = directory()
    try:
        check_private(registry)
    except FileNotFoundError:
        return []
    except NotPrivateError as error:
        log.warning("services of this machine are not shown: %s%s", error, _ADVICE)
        return []
    return [presence for presence in presences(registry) if presence.is_alive]


def _remove_dead_presences(registry: Path, machine: Machine) -> None:
    for presence in presences(registry):
        with suppress(OSError), locked_if_dead(presence.path, machine) as dead:
            if dead:
                remove(presence.path)


def _removed(path: Path) -> None:
    with suppress(OSError):
        remove(path)
