"""A run over directories, from its plan to its exit code: one session after the other."""

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from threading import Event

from sampoll.app.assembly import LoadedModel, load_model, service_of
from sampoll.app.export import write_datasets
from sampoll.app.plan import Plan
from sampoll.app.run_outcome import RunOutcome, outcome_of, summary_despite_errors, tell_leftovers
from sampoll.app.service_info import run_info
from sampoll.app.signals import STOPPING, outside_the_main_thread, stopping_on_signals
from sampoll.core.errors import (
    Fenced,
    InputUnavailable,
    OutputUnavailable,
    PermissionRefused,
    SampollError,
    StorageTrouble,
)
from sampoll.core.events import Listener, ModelLoaded, Paused, Resumed, StopRequested, broadcast
from sampoll.engine.pipeline import Service
from sampoll.models.registry import Factory, find_factory
from sampoll.monitoring.job_log import job_log
from sampoll.monitoring.monitor import Monitor, PartOf, monitored
from sampoll.monitoring.progress_bar import JobProgress, progress
from sampoll.monitoring.tally import Tally
from sampoll.spool.places import missing_mount, mount_points
from sampoll.spool.probe import probe
from sampoll.transports.directory.transport import DirectoryTransport, directory_transport

log = logging.getLogger(__name__)

OUTAGES = (Fenced, InputUnavailable, OutputUnavailable, PermissionRefused, StorageTrouble)
"""What pauses a service until its directories can be used again."""
MAX_PAUSE_SECONDS = 30.0
"""Longest wait between two checks of unusable directories; a longer session resets the wait."""


def run_plan(
    plan: Plan, listeners: Sequence[Listener], *, show_progress: bool, part_of: PartOf | None = None
) -> RunOutcome:
    """Serves the input directory. Raises SampollError if the run cannot work at all. `part_of`: the service
    of which this process is a worker."""
    factory = find_factory(plan.settings.model)
    tally = Tally()
    with ExitStack() as stack:
        info = run_info(plan.settings, plan.layout)
        monitor = stack.enter_context(monitored(plan.settings.monitoring, info, part_of=part_of))
        everyone: list[Listener] = [*listeners, tally, *monitor.listeners]
        if plan.settings.operations.report is not None:
            everyone.append(stack.enter_context(job_log(plan.settings.operations.report)))
        bar = stack.enter_context(progress("pair", 0, is_shown=show_progress))
        everyone.append(JobProgress(bar))
        application = _Application(
            plan,
            factory,
            broadcast(everyone),
            monitor,
            tells_leftovers=part_of is None and not plan.settings.spool.continuous,
        )
        stack.enter_context(stopping_on_signals(application.stop))
        outside_the_main_thread(application.run)
        if tally.done:
            with summary_despite_errors(tally):
                outside_the_main_thread(partial(write_datasets, plan.layout.output, plan.datasets))
    return outcome_of(plan.settings, plan.layout, tally, is_stopped=application.is_stopped)


class _Application:
    """Runs one session after the other on the same directories. A session ends when the work is done, or with
    an error: the input disappeared, storage failed, or other processes took our jobs. After an error, a
    service waits until the directories can be used again and begins a new session, as a new node that
    recovers the jobs of the previous one."""

    def __init__(
        self, plan: Plan, factory: Factory, emit: Listener, monitor: Monitor, *, tells_leftovers: bool
    ) -> None:
        self._plan = plan
        self._settings = plan.settings
        self._layout = plan.layout
        self._factory = factory
        self._emit = emit
        self._monitor = monitor
        self._tells_leftovers = tells_leftovers
        self._stop = Event()
        self._session: tuple[DirectoryTransport, Event] | None = None
        self._former_nodes: set[str] = set()
        self._mount_points = mount_points(plan.layout)
        self._model: LoadedModel | None = None

    @property
    def is_stopped(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Requests an orderly stop; may be called from any thread."""
        # A progress bar hides less than warnings; a service has none.
        level = logging.INFO if self._settings.spool.continuous else logging.WARNING
        log.log(level, STOPPING, extra={"event": "stopping"})
        self._emit(StopRequested())
        self._stop.set()
        if self._session is not None:
            transport, session_stop = self._session
            session_stop.set()
            transport.note_stopping()

    def run(self) -> None:
        first_pause_seconds = pause_seconds = self._settings.spool.rescan_seconds
        while True:
            began = time.monotonic()
            try:
                self._serve()
                return
            except OUTAGES as trouble:
                # An error before the first session, after a stop, or in a one-shot run ends the command.
                if self._session is None or self._stop.is_set() or not self._settings.spool.continuous:
                    raise
                if time.monotonic() - began > MAX_PAUSE_SECONDS:
                    pause_seconds = first_pause_seconds
                # Logged as an error once, not at each try.
                is_new = pause_seconds == first_pause_seconds
                level = logging.ERROR if is_new else logging.DEBUG
                log.log(level, "paused: %s", trouble, extra={"event": "paused"})
                self._emit(Paused(trouble, returns_jobs=True))
            if not self._wait_until_usable(pause_seconds):
                return
            pause_seconds = min(2 * pause_seconds, MAX_PAUSE_SECONDS)
            log.info("trying again with %s", self._layout.input)

    def _wait_until_usable(self, pause_seconds: float) -> bool:
        """False if a stop was requested meanwhile."""
        while not self._stop.wait(pause_seconds):
            try:
                self._raise_if_unmounted()
                probe(self._layout, self._settings.spool.min_free_bytes)
            except SampollError as error:
                log.debug("still paused: %s", error)
            else:
                return True
        return False

    def _raise_if_unmounted(self) -> None:
        """OutputUnavailable if a mount of the earlier sessions is gone: the path is then an empty directory,
        which is neither the input nor the output."""
        if (gone := missing_mount(self._mount_points)) is not None:
            raise OutputUnavailable(f"nothing is mounted at {gone} any more: mount it again")

    def _serve(self) -> None:
        """Runs one session; raises the error that ends it early."""
        session_stop = Event()
        probe(self._layout, self._settings.spool.min_free_bytes)
        with directory_transport(
            self._layout,
            self._plan.transport,
            self._emit,
            self._former_nodes,
            self._monitor.health.document,
        ) as transport:
            self._session = transport, session_stop
            if self._stop.is_set():
                return
            self._raise_if_unmounted()
            self._mount_points |= mount_points(self._layout)
            is_needed = self._settings.spool.continuous or transport.has_work(session_stop)
            if is_needed:
                try:
                    self._service(transport).run(session_stop)
                except (PermissionRefused, StorageTrouble) as error:
                    transport.raise_if_lost()
                    if transport.is_fenced():
                        raise Fenced("another process has taken the jobs of this one") from error
                    raise
            transport.raise_if_lost()
            if self._tells_leftovers:
                tell_leftovers(self._layout, transport.leftovers(), did_nothing=not is_needed)
            if session_stop.is_set():  # the stop file asked for it
                self._stop.set()

    def _service(self, transport: DirectoryTransport) -> Service:
        if self._model is None:
            self._model = load_model(self._settings.model, self._factory)
        log.info("%s: ready", self._layout.input, extra={"event": "ready"})
        self._emit(ModelLoaded(self._model.segmenter.info))
        self._emit(Resumed())
        if self._settings.spool.skip_done:
            transport.skip(self._plan.done_index(self._model.segmenter.info).find)
        decode = self._model.decode_with(self._plan.decoding)
        return service_of(
            self._settings,
            transport,
            self._model,
            decode,
            [*self._monitor.formats, *self._plan.formats],
            emit=self._emit,
            queues=self._monitor.queues,
        )
