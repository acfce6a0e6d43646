"""Connects all monitoring of a service: registry, systemd, metrics and the HTTP server."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sampoll.config.settings.monitoring import MonitoringSettings
from sampoll.core.events import Listener
from sampoll.core.protocols import Format
from sampoll.engine.pipeline import Queues
from sampoll.monitoring.health import Health
from sampoll.monitoring.local_services import registered
from sampoll.monitoring.systemd import notified
from sampoll.spool.unpaired import Leftovers

if TYPE_CHECKING:
    from sampoll.monitoring.metrics import Metrics
    from sampoll.monitoring.web import Application

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


@dataclass
class Monitor:
    """`listeners` get every event, `formats` every result; `queues` are measured."""

    health: Health
    listeners: list[Listener]
    formats: list[Format] = field(default_factory=list)
    queues: Queues = field(default_factory=dict)
    application: "Application | None" = None


@contextmanager
def monitored(
    settings: MonitoringSettings, info: ServiceInfo, *, has_pages: bool = False
) -> Iterator[Monitor]:
    """Monitors a service until the block ends, as the settings say. With `has_pages`, or `settings.http`, the
    monitor has the application that shows it over HTTP."""
    # A service with a long scan interval must not count as stalled between two scans.
    stall_seconds = max(settings.stall_seconds, SCANS_PER_STALL * (info.look_seconds or 0.0))
    health = Health(info.about, stall_seconds=stall_seconds, looks_around=info.look_seconds is not None)
    monitor = Monitor(health, [health])
    with ExitStack() as stack:
        stack.enter_context(registered(health.document))
        monitor.listeners += stack.enter_context(notified(health))
        # Here and below, because a run without them need not wait for their imports.
        if has_pages or settings.http is not None or settings.metrics_file is not None:
            from sampoll.monitoring.metrics import Metrics

            metrics = Metrics(monitor.health, monitor.queues, info.roots, info.failed_pairs)
            monitor.listeners.append(metrics)
            if settings.metrics_file is not None:
                stack.callback(metrics.write, settings.metrics_file)
            if has_pages or settings.http is not None:
                monitor.application = _application(settings, info, monitor, metrics)
        if monitor.application is not None and settings.http_address is not None:
            from sampoll.monitoring.server import serving

            stack.enter_context(serving(*settings.http_address, monitor.application))
        yield monitor


def _application(
    settings: MonitoringSettings, info: ServiceInfo, monitor: Monitor, metrics: "Metrics"
) -> "Application":
    """What shows the service over HTTP; what it needs to know of the service is added to the monitor."""
    from sampoll.monitoring.history import History
    from sampoll.monitoring.page.left import RecentLeftovers
    from sampoll.monitoring.page.pages import Pages
    from sampoll.monitoring.thumbnails import Thumbnails
    from sampoll.monitoring.web import Application

    history = History()
    thumbnails = Thumbnails() if settings.http_thumbnails else None
    monitor.listeners.append(history)
    monitor.formats += [] if thumbnails is None else [thumbnails]
    leftovers = None if info.find_leftovers is None else RecentLeftovers(info.find_leftovers)
    pages = Pages(monitor.health, history, lambda: metrics.failed_pairs, thumbnails, leftovers)
    return Application(monitor.health, metrics, pages, thumbnails)
