"""`sampoll status`: the services on an input, or on this machine, and what waits for them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from sampoll.app.directories import suffixes_of
from sampoll.config.settings import SpoolSettings
from sampoll.core.names import printable
from sampoll.files.files import subdirectories
from sampoll.files.presence import Presence, heard, presences
from sampoll.monitoring.health import State
from sampoll.monitoring.local_services import services
from sampoll.spool.failed import count_reports
from sampoll.spool.layout import InputLayout
from sampoll.spool.survey import survey

COUNTS = ("done", "failed", "in_flight")
"""What people are told of what a service has counted."""


class Verdict(IntEnum):
    """The exit code; those of init scripts, where there is one."""

    WELL = 0
    UNHEALTHY = 1
    NOBODY = 3


@dataclass(frozen=True)
class Waiting:
    """What lies in an input, all of it counted as settled: whole pairs, halves, jobs that processes hold or
    have left, jobs that wait for another try, and failed pairs."""

    pairs: int
    halves: int
    claimed: int
    deferred: int
    failed: int


@dataclass(frozen=True)
class Status:
    """`services` are alive, `dead` have ended without leaving, and what they held waits to be taken over."""

    services: Sequence[Mapping[str, Any]]
    dead: Sequence[str] = ()
    input: Path | None = None
    waiting: Waiting | None = None

    @property
    def verdict(self) -> Verdict:
        if not self.services:
            return Verdict.NOBODY
        is_well = all(service.get("healthy", True) for service in self.services)
        return Verdict.WELL if is_well else Verdict.UNHEALTHY

    def document(self) -> Mapping[str, Any]:
        """For programs."""
        waiting = None if self.waiting is None else vars(self.waiting)
        return {
            "verdict": self.verdict.name.lower(),
            "input": None if self.input is None else printable(str(self.input)),
            "waiting": waiting,
            "services": list(self.services),
            "dead": list(self.dead),
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.waiting is not None:
            yield f"{printable(str(self.input))}: {_waiting_line(self.waiting)}"
        for service in self.services:
            yield _service_line(service)
        for name in self.dead:
            yield f"{printable(name)} has died; what it held is taken over by whoever runs next"
        if not self.services:
            yield "no service runs here"


def status_of_input(settings: SpoolSettings, directory: Path) -> Status:
    """Who serves an input, from whatever machine; InputUnavailable if there is no input."""
    layout = InputLayout(directory.resolve())
    waiting = _waiting(settings, layout)
    seen = [heard(presence) for presence in presences(layout.nodes)]
    found = {_id_of(presence): presence.said for presence in seen if presence.is_alive}
    # One that is paused has left the spool, whose disk may be the trouble.
    for presence in services():
        if presence.said.get("input") == str(layout.input):
            found[_id_of(presence)] = presence.said
    dead = [presence.name for presence in seen if not presence.is_alive]
    return Status(list(found.values()), dead, layout.input, waiting)


def status_of_machine() -> Status:
    """Whatever services this user runs on this machine."""
    return Status([presence.said for presence in services()])


def _id_of(presence: Presence) -> str:
    return str(presence.said.get("id", presence.name))


def _waiting(settings: SpoolSettings, layout: InputLayout) -> Waiting:
    found = survey(layout.input, settings, suffixes_of(settings))
    return Waiting(
        len(found.ready),
        found.half,
        sum(len(subdirectories(node)) for node in subdirectories(layout.work)),
        len(subdirectories(layout.deferred)),
        count_reports(layout),
    )


def _waiting_line(waiting: Waiting) -> str:
    parts = [
        f"{waiting.pairs} pair{_s(waiting.pairs)} wait{'s' if waiting.pairs == 1 else ''}",
        f"{waiting.claimed} claimed",
        f"{waiting.failed} failed",
    ]
    if waiting.deferred:
        parts.append(f"{waiting.deferred} to be tried again")
    if waiting.halves:
        parts.append(f"{waiting.halves} half pair{_s(waiting.halves)}")
    return ", ".join(parts)


def _service_line(said: Mapping[str, Any]) -> str:
    """What a service has said of itself, though it need not be of this version: nothing has to be there."""
    place = said.get("input") or said.get("server")
    who = f"{said.get('service', 'a service')}{f' {place}' if place else ''} on {said.get('host', '?')}"
    who += f", process {said.get('pid', '?')}"
    state = str(said.get("state", "alive"))
    if reason := said.get("reason"):
        state += f" ({reason})"
    if state == State.STALLED:
        state += f": nothing has happened for {_span(said.get('progress_seconds_ago'))}; restart it"
    parts = [f"{who}: {state}", f"up for {_span(said.get('uptime_seconds'))}"]
    if model := said.get("model"):
        precision = f" in {said['precision']}" if said.get("precision") else ""
        parts.append(f"{model} on {said.get('device', '?')}{precision}")
    parts.append(", ".join(f"{said.get(key, '?')} {key.replace('_', ' ')}" for key in COUNTS))
    if isinstance(last := said.get("last_failure"), dict):
        parts.append(f"last failure {last.get('name')}: {last.get('message')}")
    return printable("; ".join(parts))


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _span(seconds: object) -> str:
    """A duration in its largest unit."""
    if not isinstance(seconds, int | float):
        return "?"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
