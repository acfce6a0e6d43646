"""The unit of a service on a folder: configs/systemd/sampoll.service with other paths and another user."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sampoll.config.examples import examples_directory
from sampoll.core.errors import UsageError
from sampoll.core.names import printable

HTTP = "127.0.0.1:9180"
"""Where the status page is if the settings do not say."""
HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))
"""What ProtectHome=yes hides."""
TEMPORARY = tuple(map(Path, ("/tmp", "/var/tmp")))
"""What PrivateTmp=yes hides."""
_HEADER = """\
# Made by `sampoll init --systemd`, from configs/systemd/sampoll.service.
#
#   install -m 644 {name}.service /etc/systemd/system/
#   systemctl daemon-reload && systemctl enable --now {name} && systemctl status {name}
#
# The user must be able to run the command, and to write to the input and the output. Weights are kept in
# /var/cache/sampoll, unless `checkpoint` names a file.

"""


@dataclass(frozen=True)
class Service:
    """A service on a folder. All paths are absolute. `reads` are further paths that it reads; `name` is that
    of the unit, without .service."""

    name: str
    command: tuple[str, ...]
    user: str
    input: Path
    output: Path
    done: Path | None
    config: Path | None
    http: str | None
    reads: tuple[Path, ...]


def unit_name(path: Path) -> str:
    """The name of the unit in a file, without .service; UsageError if it cannot be the name of one."""
    if not re.fullmatch(r"[A-Za-z0-9:_.-]+\.service", path.name):
        raise UsageError(
            f"{printable(path.name)} cannot be the name of a unit: give NAME.service, with letters, digits "
            "and any of : _ . -"
        )
    return path.name.removesuffix(".service")


def check_user(user: str) -> str:
    """The user of a service; UsageError for root, and for what cannot be a name."""
    if user == "root":
        raise UsageError("give --user NAME: the service should not run as root")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", user):
        raise UsageError(f"--user {printable(user)} cannot be the name of a user")
    return user


def unit_of(service: Service) -> str:
    """The text of the unit."""
    template = (examples_directory() / "systemd" / "sampoll.service").read_text(encoding="utf-8")
    unit = _HEADER.format(name=service.name) + template[template.index("[Unit]") :]
    written = [service.input, service.output]
    if service.done is not None and not service.done.is_relative_to(service.input):
        written.append(service.done)
    values = {
        "RequiresMountsFor": _list_of(written),
        "ReadWritePaths": _list_of(written),
        "ExecStart": " ".join(map(_argument, _command_line(service))),
        "User": service.user,
        "RuntimeDirectory": service.name,
        "ProtectHome": "read-only" if _is_any_below([*written, *service.reads], HOMES) else "yes",
        "PrivateTmp": "no" if _is_any_below([*written, *service.reads], TEMPORARY) else "yes",
    }
    for key, value in values.items():
        unit = _with_value(unit, key, value)
    unit = unit.replace("XDG_RUNTIME_DIR=/run/sampoll", f"XDG_RUNTIME_DIR=/run/{service.name}")
    return unit.replace("Group=sampoll\n", "")


def _command_line(service: Service) -> Iterable[str]:
    yield from (*service.command, "run")
    if service.config is not None:
        yield from ("--config", str(service.config))
    yield from ("--input", str(service.input), "--output", str(service.output), "--continuous")
    if service.http is None:
        yield from ("--http", HTTP)


def _with_value(unit: str, key: str, value: str) -> str:
    found, count = re.subn(rf"^{key}=.*$", lambda _: f"{key}={value}", unit, flags=re.MULTILINE)
    assert count == 1, key
    return found


def _is_any_below(paths: Iterable[Path], parents: Iterable[Path]) -> bool:
    return any(path.is_relative_to(parent) for path in paths for parent in parents)


def _list_of(paths: Iterable[Path]) -> str:
    return " ".join(_quoted(str(path)) for path in paths)


def _argument(text: str) -> str:
    """A word of a command line, in which systemd replaces $NAME too."""
    return _quoted(text.replace("$", "$$"))


def _quoted(text: str) -> str:
    """A word as systemd reads it, where % begins a specifier; UsageError for what not every key can name."""
    if not text.isprintable() or set(text) & set("\"'\\"):
        raise UsageError(
            f"{printable(text)} cannot be named in a unit of systemd, because of its quotes, backslashes or "
            "control characters: choose another path"
        )
    text = text.replace("%", "%%")
    return f'"{text}"' if " " in text or ";" in text else text
