"""`sampoll status`: the services on an input, or on this machine, and the work that waits for them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from sampoll.app.directories import suffixes_of
from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.names import printable
from sampoll.core.wording import counted, duration_text
from sampoll.files.files import subdirectories
from sampoll.files.presence import Presence, presences, with_liveness
from sampoll.monitoring.local_services import services
from sampoll.monitoring.state import State
from sampoll.spool.directories import holds_a_job
from sampoll.spool.failed import count_reports
from sampoll.spool.layout import InputLayout
from sampoll.spool.scan import Scan
from sampoll.spool.survey import survey
from sampoll.spool.unpaired import NOTHING_LEFT, Leftovers

COUNTS = ("done", "failed", "in_flight")
"""The counts of a service that are shown to people."""


class Verdict(IntEnum):
    """The exit code; the same as that of init scripts, where they define one."""

    WELL = 0
    UNHEALTHY = 1
    NOBODY = 3


@dataclass(frozen=True)
class Waiting:
    """The contents of an input, with all files counted as settled: complete pairs, half pairs, jobs claimed
    by live or dead processes, jobs that wait for a retry, and failed pairs."""

    pairs: int
    halves: int
    claimed: int
    deferred: int
    failed: int


@dataclass(frozen=True)
class Status:
    """`services` are alive; `dead` are the nodes of processes that ended without releasing their jobs, which
    another process has to take over. `unreadable`: why files and folders of the input cannot be read, by
    their paths. `left`: the files of the input that no run takes."""

    services: Sequence[Mapping[str, Any]]
    dead: Sequence[str] = ()
    input: Path | None = None
    waiting: Waiting | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)
    left: Leftovers = NOTHING_LEFT

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
            "unreadable": dict(self.unreadable),
            "left": self.left.document(),
            "services": list(self.services),
            "dead": list(self.dead),
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.waiting is not None:
            yield f"{self.input}: {_waiting_line(self.waiting)}"
        for path, reason in self.unreadable.items():
            yield f"{path} {reason}; it is passed over"
        yield from self.left.lines()
        for service in self.services:
            yield _service_line(service)
        for name in self.dead:
            yield f"{name} has died; the next run takes over its jobs"
        if not self.services:
            yield "no service runs here"


def status_of_input(settings: SpoolSettings, directory: Path) -> Status:
    """The services on an input, on any machine, and its contents; InputUnavailable if it cannot be read. Of
    workers whose service is on another machine, each is shown."""
    layout = InputLayout(directory.resolve())
    found = survey(layout.input, settings, suffixes_of(settings))
    unreadable = {printable(obstacle.path): str(obstacle.error) for obstacle in found.obstacles}
    seen = with_liveness(presences(layout.nodes))
    services_by_id = {_id_of(presence): presence.details for presence in seen if presence.is_alive}
    # A paused service has left the spool, whose disk may be the problem; the local registry has it.
    for presence in services():
        if presence.details.get("input") == str(layout.input):
            services_by_id[_id_of(presence)] = presence.details
    found_services = [
        details for details in services_by_id.values() if details.get("part_of") not in services_by_id
    ]
    dead = [presence.name for presence in seen if not presence.is_alive]
    waiting = _waiting(found.scan, layout)
    return Status(found_services, dead, layout.input, waiting, unreadable, found.leftovers)


def status_of_machine() -> Status:
    """All services that this user runs on this machine."""
    return Status([presence.details for presence in services()])


def _id_of(presence: Presence) -> str:
    return str(presence.details.get("id", presence.name))


def _waiting(scan: Scan, layout: InputLayout) -> Waiting:
    return Waiting(
        len(scan.ready),
        scan.half,
        sum(holds_a_job(job) for node in subdirectories(layout.work) for job in subdirectories(node)),
        len(subdirectories(layout.deferred)),
        count_reports(layout),
    )


def _waiting_line(waiting: Waiting) -> str:
    parts = [
        counted(waiting.pairs, "pair waits", "pairs wait"),
        f"{waiting.claimed} claimed",
        f"{waiting.failed} failed",
    ]
    if waiting.deferred:
        parts.append(f"{waiting.deferred} to be tried again")
    if waiting.halves:
        parts.append(counted(waiting.halves, "half pair"))
    return ", ".join(parts)


def _service_line(details: Mapping[str, Any]) -> str:
    """One line about a service, from the details that it reports; another version may omit any of them."""
    place = details.get("input") or details.get("server")
    who = f"{details.get('service', 'a service')}{f' {place}' if place else ''} on {details.get('host', '?')}"
    who += f", process {details.get('pid', '?')}"
    state = str(details.get("state", "alive"))
    if reason := details.get("reason"):
        state += f" ({reason})"
    if state == State.STALLED:
        state += f": no progress for {_span(details.get('progress_seconds_ago'))}; restart it"
    parts = [f"{who}: {state}", f"up for {_span(details.get('uptime_seconds'))}"]
    if model := details.get("model"):
        precision = f" in {details['precision']}" if details.get("precision") else ""
        parts.append(f"{model} on {details.get('device', '?')}{precision}")
    if isinstance(workers := details.get("workers"), list):
        parts += [f"worker {each.get('worker')} {each.get('state')}" for each in workers]
    parts.append(", ".join(f"{details.get(key, '?')} {key.replace('_', ' ')}" for key in COUNTS))
    if skipped := details.get("skipped_prompts"):
        parts.append(f"{counted(skipped, 'bad prompt')} skipped")
    if isinstance(last := details.get("last_failure"), dict):
        parts.append(f"last failure {last.get('name')}: {last.get('message')}")
    if isinstance(passed_over := details.get("passed_over"), dict):
        parts += [f"passed over {path}: {reason}" for path, reason in passed_over.items()]
    return "; ".join(parts)


def _span(seconds: object) -> str:
    return duration_text(seconds) if isinstance(seconds, int | float) else "?"
