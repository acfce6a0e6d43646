"""What a running batch by actors of Ray has of the machine."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from support.process import children_of

LISTENING = "0A"
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
"""127.0.0.1, ::1 and ::ffff:127.0.0.1 as /proc/net has them."""


def descendants(pid: int) -> list[int]:
    found = [pid]
    for each in found:  # which grows meanwhile
        with suppress(FileNotFoundError):
            found += children_of(each)
    return found[1:]


def name_of(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def actors_of(pid: int) -> list[int]:
    """The processes of the actors that have a model."""
    return [each for each in descendants(pid) if name_of(each).startswith("ray::MapWorker")]


def listening(pids: list[int]) -> Iterator[tuple[int, str]]:
    """The addresses that these processes listen on, in hexadecimal digits."""
    sockets = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == LISTENING:
                sockets[f"socket:[{rest[5]}]"] = local.partition(":")[0]
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            for each in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    if (address := sockets.get(str(each.readlink()))) is not None:
                        yield pid, address
