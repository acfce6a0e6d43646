"""Connects all monitoring of a service: registry, systemd, metrics and the HTTP server."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING

from sampoll.config.settings.monitoring import MonitoringSettings
from sampoll.core.events import Listener
from sampoll.monitoring.health import ALONE, Health
from sampoll.monitoring.local_services import registered
from sampoll.monitoring.pictures import Pictures, Thumbnail
from sampoll.monitoring.queue_sizes import QueueSize, QueueSizes
from sampoll.monitoring.systemd import notified
from sampoll.spool.unpaired import Leftovers

if TYPE_CHECKING:  # the first two need numpy
    from sampoll.core.protocols import Format
    from sampoll.engine.pipeline import Queues
    from sampoll.monitoring.metrics import Metrics
    from sampoll.monitoring.web import Application

QUEUES_SECONDS = 1.0
"""How often a worker tells the sizes of its queues."""
SCANS_PER_STALL = 3
"""A service counts as stalled only after this many scan intervals (--rescan), even if --stall is shorter."""


@dataclass(frozen=True)
class ServiceInfo:
    """What a service is, for people and for metrics. `about` is what `sampoll status` shows, `roots` are the
    directories whose free space is measured, and `look_seconds` is the time between two scans of its
    input, None if it has none. `find_leftovers` gives the files there that it does not take."""

    about: Mapping[str, str]
    roots: Mapping[str, Path] = field(default_factory=dict)
    failed_pairs: Callable[[], int] = lambda: 0
    look_seconds: float | None = None
    find_leftovers: Callable[[], Leftovers] | None = None


@dataclass(frozen=True)
class PartOf:
    """Of what service this process is one worker, by its id; `send` gives its process a picture, or the sizes
    of the queues."""

    service_id: str
    send: Callable[[Thumbnail | QueueSizes], None]


@dataclass
class Monitor:
    """Of a process: `listeners` get every event, `formats` every result; `queues` are measured."""

    health: Health
    listeners: list[Listener]
    formats: "list[Format]" = field(default_factory=list)
    queues: "Queues" = field(default_factory=dict)
    application: "Application | None" = None


@dataclass
class WorkersMonitor:
    """Of a service of several processes: `own` are the listeners for the events of each worker, `shared`
    those for the events of all; `queues` and `pictures` are what the workers tell."""

    health: Health
    own: Mapping[int, list[Listener]]
    shared: list[Listener]
    queues: Mapping[int, dict[str, QueueSize]]
    metrics: "Metrics | None" = None
    pictures: Pictures = field(default_factory=Pictures)
    application: "Application | None" = None


@contextmanager
def monitored(
    settings: MonitoringSettings,
    info: ServiceInfo,
    *,
    has_pages: bool = False,
    part_of: PartOf | None = None,
) -> Iterator[Monitor]:
    """Monitors a service until the block ends, as the settings say. With `has_pages`, or `settings.http`, the
    monitor has the application that shows it over HTTP. A worker is monitored by the process of its service,
    and its own monitor has what that needs."""
    if part_of is not None:
        with _monitored_part(settings, info, part_of) as monitor:
            yield monitor
        return
    health = _health_of(settings, info)
    monitor = Monitor(health, [health])
    with ExitStack() as stack:
        outside = stack.enter_context(
            _seen_from_outside(settings, info, health, {ALONE: monitor.queues}, has_pages=has_pages)
        )
        if outside.metrics is not None:
            monitor.listeners.append(outside.metrics)
        monitor.listeners += outside.listeners
        if outside.pictures is not None:
            from sampoll.monitoring.thumbnails import Thumbnails

            monitor.formats.append(Thumbnails(outside.pictures.keep))
        monitor.application = outside.application
        yield monitor


@contextmanager
def monitored_workers(
    settings: MonitoringSettings, info: ServiceInfo, workers: Sequence[int], *, has_pages: bool = False
) -> Iterator[WorkersMonitor]:
    """Monitors a service whose workers have these numbers, until the block ends."""
    health = _health_of(settings, info, workers)
    queues: dict[int, dict[str, QueueSize]] = {worker: {} for worker in workers}
    with _seen_from_outside(settings, info, health, queues, has_pages=has_pages) as outside:
        own = {worker: [health.of(worker)] for worker in workers}
        if outside.metrics is not None:
            for worker, listeners in own.items():
                listeners.append(outside.metrics.of(worker))
        monitor = WorkersMonitor(health, own, outside.listeners, queues, outside.metrics)
        monitor.pictures = outside.pictures or monitor.pictures
        monitor.application = outside.application
        yield monitor


@contextmanager
def _monitored_part(settings: MonitoringSettings, info: ServiceInfo, part_of: PartOf) -> Iterator[Monitor]:
    """What a worker needs: the health that its heartbeats tell, and what it sends to the process of its
    service."""
    info = replace(info, about={**info.about, "part_of": part_of.service_id})
    health = _health_of(settings, info)
    monitor = Monitor(health, [health])
    if settings.http_thumbnails:
        from sampoll.monitoring.thumbnails import Thumbnails

        monitor.formats.append(Thumbnails(part_of.send))
    stop = Flag()
    thread = Thread(target=_send_sizes, args=(monitor.queues, part_of, stop), name="queues", daemon=True)
    thread.start()
    try:
        yield monitor
    finally:
        stop.set()
        thread.join()


def _send_sizes(queues: "Queues", part_of: PartOf, stop: Flag) -> None:
    while not stop.wait(QUEUES_SECONDS):
        part_of.send(QueueSizes.of(queues))


def _health_of(settings: MonitoringSettings, info: ServiceInfo, workers: Sequence[int] = (ALONE,)) -> Health:
    # A service with a long scan interval must not count as stalled between two scans.
    stall_seconds = max(settings.stall_seconds, SCANS_PER_STALL * (info.look_seconds or 0.0))
    looks_around = info.look_seconds is not None
    return Health(info.about, stall_seconds=stall_seconds, looks_around=looks_around, workers=workers)


@dataclass
class _Outside:
    """What shows a service: `listeners` get the events of all its processes, `metrics` those of each."""

    listeners: list[Listener]
    metrics: "Metrics | None" = None
    pictures: Pictures | None = None
    application: "Application | None" = None


@contextmanager
def _seen_from_outside(
    settings: MonitoringSettings,
    info: ServiceInfo,
    health: Health,
    queues: Mapping[int, Mapping[str, QueueSize]],
    *,
    has_pages: bool,
) -> Iterator[_Outside]:
    """Registers a service, notifies systemd, writes metrics at the end, and serves pages, as the settings
    say."""
    has_pages = has_pages or settings.http is not None
    with ExitStack() as stack:
        stack.enter_context(registered(health.document))
        outside = _Outside(stack.enter_context(notified(health)))
        # Here and below, because a run without them need not wait for their imports.
        if has_pages or settings.metrics_file is not None:
            from sampoll.monitoring.metrics import Metrics

            outside.metrics = Metrics(health, queues, info.roots, info.failed_pairs)
            if settings.metrics_file is not None:
                stack.callback(outside.metrics.write, settings.metrics_file)
            if has_pages:
                _add_pages(outside, settings, info, health, outside.metrics)
        if outside.application is not None and settings.http_address is not None:
            from sampoll.monitoring.server import serving

            stack.enter_context(serving(*settings.http_address, outside.application))
        yield outside


def _add_pages(
    outside: _Outside, settings: MonitoringSettings, info: ServiceInfo, health: Health, metrics: "Metrics"
) -> None:
    """What shows the service over HTTP, and what it needs to know of it."""
    from sampoll.monitoring.history import History
    from sampoll.monitoring.page.left import RecentLeftovers
    from sampoll.monitoring.page.pages import Pages
    from sampoll.monitoring.web import Application

    history = History()
    outside.listeners.append(history)
    outside.pictures = Pictures() if settings.http_thumbnails else None
    leftovers = None if info.find_leftovers is None else RecentLeftovers(info.find_leftovers)
    pages = Pages(health, history, lambda: metrics.failed_pairs, outside.pictures, leftovers)
    outside.application = Application(health, metrics, pages, outside.pictures)
