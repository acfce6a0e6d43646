"""Notifications to systemd: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread

from sdnotify import SystemdNotifier

from sampoll.core.events import Event, Listener, ModelLoaded, StopRequested
from sampoll.monitoring.health import Health
from sampoll.monitoring.state import State

MAX_NOTIFY_INTERVAL_SECONDS = 10.0


class Notifications:
    """Sends READY once the model is loaded, by all workers if there are several, STOPPING when a stop is
    requested, and STATUS at intervals; also WATCHDOG as long as the service is healthy, so that systemd
    restarts one that hangs."""

    def __init__(self, health: Health, environment: Mapping[str, str]) -> None:
        self._health = health
        self._notifier = SystemdNotifier()
        self._watchdog_seconds = _watchdog_seconds(environment)

    def __call__(self, event: Event) -> None:
        match event:
            case ModelLoaded() if self._health.state is not State.STARTING:
                self._notifier.notify("READY=1")
            case StopRequested():
                self._notifier.notify("STOPPING=1")

    def run(self, stop: threading.Event) -> None:
        """Sends STATUS and WATCHDOG until `stop` is set."""
        pause = min(MAX_NOTIFY_INTERVAL_SECONDS, (self._watchdog_seconds or MAX_NOTIFY_INTERVAL_SECONDS) / 2)
        while True:
            self._notifier.notify(f"STATUS={self._health.headline()}")
            if self._watchdog_seconds is not None and self._health.is_healthy:
                self._notifier.notify("WATCHDOG=1")
            if stop.wait(pause):
                return


@contextmanager
def notified(health: Health) -> Iterator[list[Listener]]:
    """The listeners that notify systemd; none if systemd did not start this process."""
    if "NOTIFY_SOCKET" not in os.environ:
        yield []
        return
    notifications, stop = Notifications(health, os.environ), threading.Event()
    thread = Thread(target=notifications.run, args=(stop,), name="systemd", daemon=True)
    thread.start()
    try:
        yield [notifications]
    finally:
        stop.set()
        thread.join()


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """The watchdog timeout of this process; None if systemd has set none."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) else None
