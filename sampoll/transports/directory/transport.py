"""Pairs from a watched directory, results into another."""

import errno
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, TypeAlias

from sampoll.config.settings.limits import LimitSettings
from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import (
    Fenced,
    InputUnavailable,
    JobError,
    OutputFailed,
    OutputTaken,
    Reword,
    StorageTrouble,
    reworded,
    translated_os_errors,
)
from sampoll.core.events import (
    Backlog,
    InputScanned,
    JobDeferred,
    JobDone,
    JobFailed,
    JobSkipped,
    JobStarted,
    Listener,
    PassedOver,
    WatchChecked,
    WatchOverflowed,
)
from sampoll.core.failures import Failure
from sampoll.core.jobs import Submission
from sampoll.core.memory import StageMemory
from sampoll.core.names import printable
from sampoll.core.protocols import STOP_POLL_SECONDS
from sampoll.core.results import Delivery, ResultSummary
from sampoll.core.turns import turn
from sampoll.files.presence import Describe, no_details
from sampoll.inputs.common_prompt import CommonPrompt
from sampoll.spool.claims import Claim
from sampoll.spool.layout import Layout
from sampoll.spool.path_errors import HELD_UP_SECONDS, HeldUp
from sampoll.spool.probe import check_room
from sampoll.spool.recovery import Step
from sampoll.spool.reservations import VERSIONED, Naming
from sampoll.spool.results import first_version
from sampoll.spool.scan import Scan
from sampoll.spool.spool import Deferral, Spool, opened
from sampoll.spool.stop_file import took_stop_file
from sampoll.spool.unpaired import Leftovers, leftovers
from sampoll.transports.directory.late_prompts import LatePrompts
from sampoll.transports.directory.pair_files import read_submission

if TYPE_CHECKING:
    from sampoll.files.watch import Watch

log = logging.getLogger(__name__)

GROUP_SIZE = 128
GROUP_BYTES = 64 * 2**20
"""A group of submissions that are begun together is closed at so many submissions or image bytes."""
MIN_PAUSE_SECONDS = 0.05
"""The shortest pause between two scans of the input, however many events there are."""


FindDone: TypeAlias = Callable[[Submission, bytes, str], ResultSummary | None]
"""The summary of a committed result, given the content of its record and its name, if it is the result of
this very submission; otherwise None."""


@dataclass(frozen=True)
class DirectoryOptions:
    """How the input is watched, and results are named. `prompt` is for images that have none of their own;
    `reword` puts the errors of pairs into other words. `holds_input`: the parent of this process holds the
    input for it."""

    spool: SpoolSettings
    limits: LimitSettings = field(default_factory=LimitSettings)
    naming: Naming = VERSIONED
    prompt: CommonPrompt | None = None
    reword: Reword = str
    holds_input: bool = False


class DirectoryTransport:
    """Submissions are pairs of files in `layout.input`; artifacts become files in `layout.output`."""

    def __init__(self, layout: Layout, spool: Spool, options: DirectoryOptions, emit: Listener) -> None:
        self._layout = layout
        self._spool = spool
        self._options = options
        self._settings = options.spool
        self._emit = emit
        self._changed = Event()
        self._all_ended = Event()
        self._recovered: list[Claim] = []
        self._find_done: FindDone | None = None
        self._last_scan: Scan | None = None
        self._late_prompts = LatePrompts()
        self._begun = 0
        self._room: Callable[[], int] = lambda: GROUP_SIZE

    # Transport

    def bound_groups(self, room: Callable[[], int]) -> None:
        self._room = room

    def submissions(self, stop: Event) -> Iterator[Sequence[Submission]]:
        with ExitStack() as stack:
            watch = self._watch(stack)
            retries_end: float | None = None
            while not self._should_stop(stop):
                self._spool.raise_if_lost()
                if self._spool.is_fenced:
                    raise Fenced(
                        "this process sent no heartbeat for longer than --lease, and others took its jobs"
                    )
                if watch is not None:
                    watch.restart_if_dead()
                    self._emit(WatchChecked(watch.is_up))
                check_room(self._layout, self._settings.min_free_bytes)
                self._changed.clear()
                self._all_ended.clear()
                open_before = self._spool.open_claims
                scan, deferrals = self._look()
                recovered, self._recovered = self._recovered, []
                claimed = self._submissions(self._claims(scan, deferrals, recovered, stop))
                for group in _in_turns(_grouped(claimed, self._room)):
                    retries_end = None
                    yield group
                if self._is_limit_reached:
                    log.info("--limit %s is reached: the other pairs wait for the next run", self._begun)
                    return
                # Jobs that were in flight before the scan may have been deferred after it.
                is_busy = scan.ready or scan.settling or recovered or open_before
                if not self._settings.continuous and not is_busy:
                    retries_end = retries_end or time.monotonic() + self._settings.give_up_seconds
                    if not deferrals or time.monotonic() + deferrals[0].seconds > retries_end:
                        return
                self._wait(stop, scan, deferrals)

    def begin(self, submissions: Sequence[Submission]) -> None:
        with translated_os_errors("record an attempt in", self._layout.work), turn():
            self._spool.begin([submission.id for submission in submissions])
        for submission in submissions:
            self._emit(JobStarted(submission))

    def reserve(self, submission: Submission, suffixes: Sequence[str]) -> str:
        with translated_os_errors("reserve names in", self._layout.output):
            return self._spool.reserve(submission.id, suffixes)

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        paths = {d.submission.id: self._spool.published_path(d.submission.id) for d in deliveries}
        contents = {d.submission.id: [(a.suffix, a.content) for a in d.artifacts] for d in deliveries}
        began = time.perf_counter()
        with translated_os_errors("publish results in", self._layout.output), turn():
            troubles = self._spool.publish(contents)
            self._report(deliveries, paths, troubles, time.perf_counter() - began)
        self._note_ended()

    def _report(
        self,
        deliveries: Sequence[Delivery],
        paths: Mapping[str, str],
        troubles: Mapping[str, Exception],
        seconds: float,
    ) -> None:
        """Emits the outcome of each delivery, then raises an error of the storage, if there is one. Jobs that
        are done come first: moving a failed one may find that the storage cannot be used."""
        share_seconds = seconds / len(deliveries)
        for delivery in deliveries:
            submission = delivery.submission
            if submission.id not in troubles:
                summary = delivery.summary.published_in(share_seconds)
                self._emit(JobDone(submission.name, submission.id, paths[submission.id], summary))
        names = {delivery.submission.id: delivery.submission.name for delivery in deliveries}
        for job_id, trouble in troubles.items():
            match trouble:
                case HeldUp():
                    self._note_held_up(trouble)
                case OutputFailed() | OutputTaken():
                    self._fail(names[job_id], job_id, trouble)
        for trouble in troubles.values():
            if not isinstance(trouble, HeldUp | OutputFailed | OutputTaken):
                raise trouble

    def reject(self, submission: Submission, error: JobError) -> None:
        self._fail(submission.name, submission.id, error)
        self._note_ended()

    def close(self) -> None:
        self._spool.close()

    def skip(self, find_done: FindDone) -> None:
        """From now on, inputs that already have a result are finished at once, without a new try."""
        self._find_done = find_done

    def note_stopping(self) -> None:
        """Notes a requested stop: if the process is killed from now on, no job is charged for it."""
        self._spool.note_stopping()

    def is_fenced(self) -> bool:
        """Whether another process has taken the jobs of this transport: a new one is needed."""
        return self._spool.is_fenced

    def raise_if_lost(self) -> None:
        """InputUnavailable or OutputUnavailable if a directory is gone, or another one has replaced it: a
        mount that came or went. A new transport is needed once it is there again."""
        self._spool.raise_if_lost()

    def leftovers(self) -> Leftovers:
        """The files that are in the input and in no pair, as of the last scan."""
        halves = () if self._last_scan is None else self._last_scan.halves
        return leftovers(
            self._layout.input,
            self._settings,
            self._layout.suffixes,
            halves,
            takes_links_and_hidden=self._layout.takes_links_and_hidden,
        )

    @property
    def held_memory(self) -> StageMemory:
        """The files of the next group."""
        return StageMemory("files", GROUP_BYTES)

    # What is there

    def _watch(self, stack: ExitStack) -> "Watch | None":
        """The watch of a service, which ends with `stack`."""
        if not self._settings.continuous:
            return None
        from sampoll.files.watch import Overflows, Watch, watches_natively  # imports watchdog

        if not watches_natively(self._layout.input, self._settings.watch):
            return None
        watch = Watch(self._layout.input, self._changed.set, recursive=self._layout.recursive)
        stack.callback(watch.close)
        stack.enter_context(Overflows(self._note_overflow).listening())
        return watch

    def _note_overflow(self) -> None:
        """Some files may have come without an event: scans the input at once."""
        self._emit(WatchOverflowed())
        self._changed.set()

    def has_work(self, stop: Event) -> bool:
        """Whether a one-shot run has anything to do or to wait for; if not, it needs no model."""
        if self._should_stop(stop):
            return False
        scan, deferrals = self._look()
        return bool(scan.ready or scan.settling or deferrals or self._recovered)

    def _look(self) -> tuple[Scan, list[Deferral]]:
        try:
            scan = self._spool.sweep()
        except FileNotFoundError as error:
            raise InputUnavailable(f"the input {self._layout.input} has gone") from error
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # too many open files
                raise StorageTrouble(f"cannot scan {self._layout.input}: {error.strerror}") from error
            raise InputUnavailable(f"the input {self._layout.input}: {error.strerror}") from error
        with translated_os_errors("look through", self._layout.work):
            self._recovered += self._spool.recover()
            deferrals = self._spool.deferrals()
        self._last_scan = scan
        self._late_prompts.tell(scan.halves)
        waiting = len(scan.ready), scan.settling, scan.half, len(deferrals), scan.oldest_ready_seconds
        self._report_obstacles()
        self._emit(InputScanned(Backlog(*waiting, passed_over=self._spool.obstacles)))
        return scan, deferrals

    def _report_obstacles(self) -> None:
        for obstacle in self._spool.new_obstacles():
            self._emit(PassedOver(obstacle.path, obstacle.error))

    @contextmanager
    def _reporting_held_up(self) -> Iterator[None]:
        """A job that cannot be ended is only reported."""
        try:
            yield
        except HeldUp as held_up:
            self._note_held_up(held_up)

    def _note_held_up(self, held_up: HeldUp) -> None:
        if held_up.is_new:
            self._emit(JobDeferred(held_up.path, held_up.job_id, held_up.error, HELD_UP_SECONDS))

    def _claims(
        self, scan: Scan, deferrals: Sequence[Deferral], recovered: Sequence[Claim], stop: Event
    ) -> Iterator[Claim]:
        """Yields one claim after the other; each is made only when the caller asks for it."""
        given_back: set[str] = set()
        for claim in recovered:
            if not self._ends_claims(stop) and self._goes_on(claim):
                yield claim
            else:
                given_back.add(claim.state.path)
        for deferral in deferrals:
            if deferral.seconds == 0 and not self._ends_claims(stop):
                with translated_os_errors("claim from", self._layout.deferred):
                    due = self._spool.take_deferred(deferral)
                if due is not None and self._goes_on(due):
                    yield due
        for group in scan.ready:
            if self._ends_claims(stop):
                return
            if group.stem in given_back:
                continue  # the scan saw a part of its files
            spool = self._spool
            if spool.is_passed_over(group.stem) or spool.must_wait(group) or spool.has_gone(group):
                continue
            if self._spool.is_being_written(group):
                log.debug("%s is still open for writing", printable(group.stem))
                continue
            with translated_os_errors("claim from", self._layout.input):
                fresh = self._spool.take(group)
            self._report_obstacles()
            if fresh.is_sound or self._goes_on(fresh):
                yield fresh

    def _goes_on(self, claim: Claim) -> bool:
        """Whether a claimed job is to be tried; if not, it is ended or given back here."""
        state = claim.state
        with translated_os_errors("clear up", claim.directory), self._reporting_held_up():
            match self._spool.next_step(claim):
                case Step.TRY:
                    return True
                case Step.FINISH:
                    summary = self._spool.summary_of(claim)
                    self._spool.finish(claim)
                    self._emit(JobDone(state.path, state.job_id, state.published_path, summary))
                case Step.MOVE_TO_FAILED:
                    self._spool.move_to_failed(claim)
                    self._emit(JobFailed(state.path, state.job_id, _recorded(state.failures[-1])))
                case Step.GIVE_UP:
                    self._emit(JobFailed(state.path, state.job_id, self._spool.give_up(claim)))
                case Step.GIVE_BACK:
                    error = self._spool.give_back(claim)
                    if error is not None:
                        self._emit(JobFailed(state.path, state.job_id, error))
        return False

    def _submissions(self, claims: Iterable[Claim]) -> Iterator[Submission]:
        for claim in claims:
            if (submission := self._submission(claim)) is not None:
                yield submission

    def _submission(self, claim: Claim) -> Submission | None:
        """The submission of a claim; None if its files are no valid submission or cannot be read, or if it
        was done before."""
        try:
            submission = read_submission(self._layout, claim, self._options.limits, self._options.prompt)
        except JobError as error:
            self._begun += 1
            self._fail(claim.state.path, claim.state.job_id, error)
            return None
        if self._was_done(submission, claim):
            return None
        self._begun += 1
        self._late_prompts.note_taken(claim.state)
        return submission

    def _was_done(self, submission: Submission, claim: Claim) -> bool:
        """Whether it already has a result of this name; then the job is finished here."""
        find_done = self._find_done
        if find_done is None:
            return False
        found = first_version(self._layout, submission.name, partial(find_done, submission))
        if found is None:
            return False
        result, summary = found
        with translated_os_errors("clear up", claim.directory), self._reporting_held_up():
            self._spool.finish(claim)
            self._emit(JobSkipped(submission.name, submission.id, result, summary))
        self._note_ended()
        return True

    def _fail(self, name: str, job_id: str, error: JobError) -> None:
        error = reworded(error, self._options.reword)
        with (
            translated_os_errors("move a failed pair to", self._layout.failed),
            self._reporting_held_up(),
        ):
            delay = self._spool.fail(job_id, error)
            if delay is None:
                self._emit(JobFailed(name, job_id, error))
            else:
                self._emit(JobDeferred(name, job_id, error, delay))

    # When to scan again

    @property
    def _is_limit_reached(self) -> bool:
        return self._settings.limit is not None and self._begun >= self._settings.limit

    def _ends_claims(self, stop: Event) -> bool:
        return self._should_stop(stop) or self._is_limit_reached

    def _should_stop(self, stop: Event) -> bool:
        name = self._settings.stop_file
        if name is not None and not stop.is_set() and took_stop_file(self._layout.input / name):
            stop.set()
        return stop.is_set()

    def _note_ended(self) -> None:
        """Some jobs have ended: what waited for them may be ready now."""
        self._changed.set()
        if not self._spool.open_claims:
            self._all_ended.set()

    def _wait(self, stop: Event, scan: Scan, deferrals: Sequence[Deferral]) -> None:
        """Waits until something has changed, a file may have settled, or a retry or the rescan is due. A
        one-shot run that has ended all its jobs may have ended, and does not pause."""
        moments = [self._settings.rescan_seconds]
        moments += [] if scan.next_ready_in is None else [scan.next_ready_in]
        moments += [deferrals[0].seconds] if deferrals else []
        pause = stop if self._settings.continuous else self._all_ended
        pause.wait(MIN_PAUSE_SECONDS)
        deadline = time.monotonic() + min(moments)
        while not stop.is_set() and (left := deadline - time.monotonic()) > 0:
            if self._changed.wait(min(left, STOP_POLL_SECONDS)):
                return


def _recorded(failure: Failure) -> JobError:
    """The error of an earlier session, as far as it is recorded."""
    error = JobError(failure.message)
    error.code = failure.code
    return error


def _grouped(
    submissions: Iterable[Submission], room: Callable[[], int] = lambda: GROUP_SIZE
) -> Iterator[list[Submission]]:
    """Groups of bounded size, none empty; a submission that must run alone is a group of its own. For each
    group, `room` is asked before its first submission is taken."""
    group: list[Submission] = []
    group_bytes, most = 0, min(GROUP_SIZE, room())
    for submission in submissions:
        if submission.alone:
            yield from ([group, [submission]] if group else [[submission]])
        else:
            group.append(submission)
            group_bytes += len(submission.image)
            if len(group) < most and group_bytes < GROUP_BYTES:
                continue
            yield group
        group = []
        group_bytes, most = 0, min(GROUP_SIZE, room())
    if group:
        yield group


def _in_turns(groups: Iterator[list[Submission]]) -> Iterator[list[Submission]]:
    """The groups, each claimed in one turn of this thread."""
    while True:
        with turn():
            group = next(groups, None)
        if group is None:
            return
        yield group


@contextmanager
def directory_transport(
    layout: Layout,
    options: DirectoryOptions,
    emit: Listener,
    former_nodes: set[str],
    describe: Describe = no_details,
) -> Iterator[DirectoryTransport]:
    """A transport on a spool of its own, closed at the end.

    `former_nodes` are the earlier nodes of this process; the new one, whose heartbeats contain what
    `describe` returns, is added.
    """
    with ExitStack() as stack:
        with translated_os_errors("prepare the spool in", layout.input):
            spool = stack.enter_context(
                opened(
                    layout,
                    options.spool,
                    options.naming,
                    former_nodes=former_nodes,
                    describe=describe,
                    holds_input=options.holds_input,
                )
            )
            if options.spool.settle_seconds > 0:
                spool.sweep()  # files begin to settle now, while a model may still be loading
        transport = DirectoryTransport(layout, spool, options, emit)
        stack.callback(transport.close)
        yield transport
