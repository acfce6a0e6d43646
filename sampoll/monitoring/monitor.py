"""Everything by which a service is seen from outside, put together."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sampoll.config.settings import MonitoringSettings
from sampoll.core.events import Listener
from sampoll.core.protocols import Format
from sampoll.engine.pipeline import Queues
from sampoll.monitoring.health import Vitals
from sampoll.monitoring.local_services import registered
from sampoll.monitoring.systemd import notified

LOOKS_A_STALL = 3
"""Who has not looked for so many times --rescan may be deaf, if --stall is less than that."""


@dataclass(frozen=True)
class Place:
    """Where jobs come from, for people and for metrics: what `sampoll status` says of it, directories whose
    free space counts, how many pairs have failed there, and how often it is looked through, if it is."""

    about: Mapping[str, str]
    roots: Mapping[str, Path] = field(default_factory=dict)
    failed_pairs: Callable[[], int] = lambda: 0
    look_seconds: float | None = None


@dataclass
class Monitor:
    """`listeners` want to hear of everything, `formats` to see each result; `queues` are looked into."""

    vitals: Vitals
    listeners: list[Listener]
    formats: list[Format] = field(default_factory=list)
    queues: Queues = field(default_factory=dict)


@contextmanager
def monitored(settings: MonitoringSettings, place: Place) -> Iterator[Monitor]:
    """Shows a service until the block ends, in whatever ways the settings ask for."""
    # Nobody is deaf for being asked to look seldom.
    stall_seconds = max(settings.stall_seconds, LOOKS_A_STALL * (place.look_seconds or 0.0))
    vitals = Vitals(place.about, stall_seconds=stall_seconds, looks_around=place.look_seconds is not None)
    monitor = Monitor(vitals, [vitals])
    with ExitStack() as stack:
        stack.enter_context(registered(vitals.document))
        monitor.listeners += stack.enter_context(notified(vitals))
        if settings.http is not None or settings.metrics_file is not None:
            stack.enter_context(_with_metrics(settings, place, monitor))
        yield monitor


@contextmanager
def _with_metrics(settings: MonitoringSettings, place: Place, monitor: Monitor) -> Iterator[None]:
    # Here, because a run without them need not wait for their imports.
    from sampoll.monitoring.metrics import Metrics

    metrics = Metrics(monitor.vitals, monitor.queues, place.roots, place.failed_pairs)
    monitor.listeners.append(metrics)
    with ExitStack() as stack:
        if settings.metrics_file is not None:
            stack.callback(metrics.write, settings.metrics_file)
        if settings.http_address is not None:
            from sampoll.monitoring.history import History
            from sampoll.monitoring.server import serving
            from sampoll.monitoring.thumbnails import Thumbnails
            from sampoll.monitoring.web import Application

            history = History()
            thumbnails = Thumbnails() if settings.http_thumbnails else None
            monitor.listeners.append(history)
            monitor.formats += [] if thumbnails is None else [thumbnails]
            application = Application(monitor.vitals, metrics, history, thumbnails)
            stack.enter_context(serving(*settings.http_address, application))
        yield
