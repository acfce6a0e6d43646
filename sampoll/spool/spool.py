"""The spool of one process: the claims that it holds, how it gets them and how it ends them."""

import logging
import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import Lock

from sampoll.config.settings.spool import SpoolSettings
from sampoll.core.errors import (
    AmbiguousPair,
    CrashedRepeatedly,
    JobError,
    OutputTaken,
    SampollError,
    TransientJobError,
)
from sampoll.core.failures import Failure
from sampoll.core.filenames import is_prompt
from sampoll.core.names import folder_of, printable
from sampoll.core.results import NO_SUMMARY, ResultSummary
from sampoll.files.files import ensure_below, sync_filesystems
from sampoll.files.open_files import is_being_written
from sampoll.files.presence import Describe, Machine, no_details
from sampoll.spool import claims, finish, recovery, reservations, results
from sampoll.spool.claims import Claim
from sampoll.spool.finish import EnsureKept
from sampoll.spool.layout import Layout
from sampoll.spool.listing import listing
from sampoll.spool.nodes import HeartbeatMonitor, Node, joined
from sampoll.spool.obstacles import Obstacle
from sampoll.spool.path_errors import HELD_UP_SECONDS, HeldUp, PathErrors
from sampoll.spool.places import Places
from sampoll.spool.recovery import Step, next_step
from sampoll.spool.reservations import VERSIONED, Naming, OnExist
from sampoll.spool.scan import Group, Readiness, Scan, Sighting, observe, scan
from sampoll.spool.state import retry_delay_seconds

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deferral:
    """A job that waits for its next try, due in `seconds` by the wall clock of this machine."""

    directory: Path
    seconds: float


class Spool:
    """The claims of one node. Calls for different claims may come from different threads."""

    def __init__(
        self,
        layout: Layout,
        node: Node,
        settings: SpoolSettings,
        naming: Naming,
        *,
        places: Places,
        former_nodes: frozenset[str],
    ) -> None:
        self._layout = layout
        self._node = node
        self._places = places
        self._durability = settings.durability
        self._naming = naming
        self._readiness = Readiness.of(settings, time.time() - time.monotonic())
        self._max_attempts = settings.max_attempts
        self._machine = Machine.this()
        self._former_nodes = former_nodes
        self._heartbeats = HeartbeatMonitor(layout, settings.lease_seconds)
        self._path_errors = PathErrors(layout, places, settings)
        self._sightings: dict[str, Sighting] = {}
        self._open: dict[str, Claim] = {}
        self._begun: set[str] = set()
        """The ids of the open jobs that are being tried: each group asks how many, of thousands."""
        self._lock = Lock()

    @property
    def open_claims(self) -> int:
        """How many jobs this process holds."""
        return len(self._open)

    @property
    def is_fenced(self) -> bool:
        """Whether another process has taken our jobs: then nothing that we hold can be published any more."""
        return not self._node.stage.is_dir()

    def raise_if_lost(self) -> None:
        """InputUnavailable or OutputUnavailable if a directory is gone, or another one has replaced it since
        the spool was opened."""
        self._places.raise_if_lost()

    @property
    def obstacles(self) -> int:
        """How many paths of the input are passed over."""
        return len(self._path_errors.obstacles)

    def new_obstacles(self) -> list[Obstacle]:
        """The obstacles that were found since the last call."""
        return self._path_errors.obstacles.unreported()

    # Ways in

    def sweep(self) -> Scan:
        """Scans the input once; pairs that are passed over are left out."""
        now = time.monotonic()
        self._path_errors.obstacles.begin_scan(now)
        self._sightings = observe(
            listing(
                self._layout.input,
                recursive=self._layout.recursive,
                suffixes=self._layout.suffixes,
                ready_suffix=self._readiness.ready_suffix,
                obstacles=self._path_errors.obstacles,
                now=now,
                takes_links_and_hidden=self._layout.takes_links_and_hidden,
            ),
            self._sightings,
            now,
        )
        return scan(self._path_errors.movable(self._sightings), now, self._readiness)

    def is_passed_over(self, stem: str) -> bool:
        """Whether the pair of this path without extensions could not be moved, and is not to be tried now."""
        return self._path_errors.is_passed_over(stem)

    def deferrals(self) -> list[Deferral]:
        """The jobs that wait for their next try, the next one first."""
        now = time.time()
        waiting = [
            Deferral(claim.directory, claim.state.due_in(now))
            for claim in claims.load_each(self._layout.deferred, self._path_errors.pass_over_own)
        ]
        return sorted(waiting, key=lambda deferral: deferral.seconds)

    def has_gone(self, group: Group) -> bool:
        """Whether a group that was found is no longer there. Processes that share an input find the same
        groups, and most of these are another one's by now; a claim of nothing has to be undone."""
        return not os.path.lexists(f"{self._layout.input}/{next(iter(group.signatures))}")

    def is_being_written(self, group: Group) -> bool:
        """Whether a process still has a file of a ready group open for writing, as far as that can be known.
        The group then has to settle again."""
        writing = [name for name in group.signatures if is_being_written(self._real_path(name))]
        for name in writing:
            if name in self._sightings:
                self._sightings[name] = replace(self._sightings[name], unchanged_since=time.monotonic())
        return bool(writing)

    def _real_path(self, name: str) -> str:
        return claims.real_path(self._layout, f"{self._layout.input}/{name}", folder_of(name))

    def must_wait(self, group: Group) -> bool:
        """Whether this group must wait: it will replace the result that an open job of ours is to publish."""
        if self._naming.on_exist not in (OnExist.REPLACE, OnExist.OVERWRITE):
            return False
        with self._lock:
            return any(claim.state.path == group.stem for claim in self._open.values())

    def take(self, group: Group) -> Claim:
        """Claims a ready group. If it has changed, another process was faster, or a file cannot be moved, the
        next step is to give the claimed files back; in the last case, the pair is passed over from now on."""
        claim = self._opened(claims.take(self._layout, self._node, group))
        if claim.refusal is not None:
            self._path_errors.pass_over_pair(group.stem, claim.refusal)
        return claim

    def take_deferred(self, deferral: Deferral) -> Claim | None:
        """Claims a deferred job; None if another process was faster, or if it cannot be moved."""
        try:
            claim = claims.take_deferred(self._node, deferral.directory)
        except OSError as error:
            self._path_errors.pass_over_own(deferral.directory, error)
            return None
        return None if claim is None else self._opened(claim)

    def recover(self) -> list[Claim]:
        """Claims the jobs of processes that have died."""
        found = recovery.recover_dead_nodes(
            self._layout,
            self._node,
            self._machine,
            self._heartbeats,
            former_nodes=self._former_nodes,
            monotonic=time.monotonic(),
            wall=time.time(),
            on_error=self._path_errors.pass_over_own,
        )
        for claim in found:
            self._opened(claim)
        return found

    def next_step(self, claim: Claim) -> Step:
        """What a recovered or deferred job needs next; HeldUp if that cannot be found out."""
        with self._holding_up(claim):
            is_committed = results.is_committed(self._layout, claim)
        return next_step(
            claim.state,
            is_complete=claim.is_complete and self._has_what_it_needs(claim),
            is_committed=is_committed,
            max_attempts=self._max_attempts,
        )

    def _has_what_it_needs(self, claim: Claim) -> bool:
        """False for an image that was claimed when there was a common prompt, if there is none now: its own
        prompt may still come. True if the job has a history."""
        needs_prompt = not (self._readiness.takes_images_alone or claim.state.has_history)
        return not needs_prompt or any(map(is_prompt, claim.state.files))

    def begin(self, job_ids: Sequence[str]) -> None:
        """Records, durably, that these jobs are about to be tried."""
        with self._lock:
            begun = len(self._begun)
        before = [self._open[job_id] for job_id in job_ids]
        self._save(
            [replace(claim, state=claim.state.begun(begun + n)) for n, claim in enumerate(before, start=1)],
            sync=self._durability != "off",
        )

    # Ways out

    def reserve(self, job_id: str, suffixes: Sequence[str]) -> str:
        """The path under which this job, and no other, publishes files of these suffixes; OutputExists, or
        OutputFailed if a path of its own in the output cannot be used."""
        try:
            claim = reservations.reserve(self._layout, self._open[job_id], suffixes, self._naming)
        except OSError as error:
            raise self._path_errors.output_failed(error) from error
        self._opened(claim)
        return claim.state.published_path

    def published_path(self, job_id: str) -> str:
        """The path that was reserved for this job's results."""
        return self._open[job_id].state.published_path

    def publish(self, contents: Mapping[str, Sequence[tuple[str, bytes]]]) -> dict[str, Exception]:
        """Publishes (suffix, content) pairs by job id, the last of each being its record; ends the jobs.

        Returns by job id the errors of the others: OutputFailed or OutputTaken if a job could not be
        published, and remains to be failed; HeldUp if it is published and could not be ended; or an error of
        the storage.
        """
        finished = [self._open[job_id] for job_id in contents]
        sync = self._durability == "file"
        self._save(finished, sync=sync)  # with the names that were reserved
        staged = [
            results.stage(self._node, claim, contents[claim.state.job_id], sync=sync) for claim in finished
        ]
        if self._durability == "batch":
            sync_filesystems(self._layout.work, self._layout.stage)  # the names, and the results
        refused = results.publish(self._layout, staged, sync=self._durability != "off")
        troubles: dict[str, Exception] = {}
        raise_if_lost, ensure_kept = cache(self._places.raise_if_lost), cache(self._layout.ensure_kept)
        for claim in finished:
            job_id = claim.state.job_id
            try:
                if job_id in refused:
                    troubles[job_id] = self._not_published(claim, refused[job_id])
                else:
                    raise_if_lost()
                    self._finish(claim, ensure_kept)
            except (HeldUp, OSError, SampollError) as error:
                troubles[job_id] = error
        self._end(claim for claim in finished if claim.state.job_id not in troubles)
        return troubles

    def _not_published(self, claim: Claim, error: OSError) -> JobError:
        if not isinstance(error, results.NameTaken):
            return self._path_errors.output_failed(error)
        self._opened(claim.saved(claim.state.unnamed(), sync=False))
        reservations.free_names(self._layout, claim.state)
        path = printable(error.filename)
        return OutputTaken(f"{path} came into the output from elsewhere while the job was done")

    def summary_of(self, claim: Claim) -> ResultSummary:
        """The summary in the published record of a job; NO_SUMMARY if that cannot be read."""
        content = results.published_record(self._layout, claim)
        return self._naming.read_record(content, claim.state.published_path) or NO_SUMMARY

    def finish(self, claim: Claim) -> None:
        """Ends a job whose results are published; HeldUp if its inputs cannot be moved."""
        self._places.raise_if_lost()
        self._finish(claim, self._layout.ensure_kept)
        self._end([claim])

    def _finish(self, claim: Claim, ensure_kept: EnsureKept) -> None:
        with self._closing(claim):
            finish.finish(self._layout, claim, ensure_kept)
            if claim.journal is None:
                claims.discard(claim)

    def _end(self, finished: Iterable[Claim]) -> None:
        """Ends finished jobs that have no state in their directories, which other jobs get."""
        journaled = [claim for claim in finished if claim.journal is not None]
        if journaled:
            self._node.journal.end(claim.state.job_id for claim in journaled)
        for claim in journaled:
            self._node.directories.keep(claim.directory)

    def fail(self, job_id: str, error: JobError) -> float | None:
        """Moves a job to failed/; or defers it, if a retry may help, and returns the delay in seconds."""
        claim = self._open[job_id]
        failure = Failure(error.code, str(error), time.time(), error.file, error.field)
        if isinstance(error, TransientJobError) and claim.state.strikes + 1 < self._max_attempts:
            delay = retry_delay_seconds(claim.state.strikes + 1, random.random())
            self._park(
                self._opened(claim.saved_apart(claim.state.deferred(failure, delay), sync=self._syncs))
            )
            return delay
        failure = replace(failure, sha256=claims.digests(claim))
        self.move_to_failed(self._opened(claim.saved_apart(claim.state.refused(failure), sync=self._syncs)))
        return None

    def move_to_failed(self, claim: Claim) -> None:
        """Ends a job that was refused; HeldUp if its inputs cannot be moved."""
        self._places.raise_if_lost()
        with self._closing(claim):
            results.withdraw(self._layout, self._node, claim.state)
            finish.move_to_failed(self._layout, claim)
            # Once the state in its directory is gone, an older one in the journal would count: as that of
            # this job, which may be retried by then.
            self._node.journal.end([claim.state.job_id])
            claims.discard(claim)

    def give_back(self, claim: Claim) -> JobError | None:
        """Undoes a claim. A complete job that has a history, or whose name is taken in the input by now, is
        deferred; of an incomplete one, files whose names are taken fail, with the returned error. HeldUp if
        files cannot be moved back."""
        if claim.is_complete and (claim.state.has_history or claims.is_name_taken(self._layout, claim)):
            self._park(self._opened(claim.saved_apart(claim.state.stopped(), sync=False)))
            return None
        with self._holding_up(claim):
            results.withdraw(self._layout, self._node, claim.state)
            reservations.free_names(self._layout, claim.state)
            is_given_back = claims.give_back(self._layout, claim)
        if is_given_back:
            self._closed(claim)
            return None
        error = AmbiguousPair("a newer file of this name came while the pair was being claimed")
        self.fail(claim.state.job_id, error)
        return error

    def give_up(self, claim: Claim) -> JobError:
        """Fails a job that has crashed too often; returns the error."""
        error = CrashedRepeatedly(
            f"the process died {claim.state.strikes} times while it worked on this pair alone"
        )
        self.fail(claim.state.job_id, error)
        return error

    def note_stopping(self) -> None:
        self._node.note_stopping()

    def close(self) -> None:
        """Gives back all claimed jobs, except those that only have to be ended: the next process does
        that."""
        for claim in list(self._open.values()):
            try:
                if self.next_step(claim) in (Step.TRY, Step.GIVE_BACK):
                    self.give_back(claim)
            except (OSError, SampollError, HeldUp) as error:
                # The job stays where it is; the next process finds it there, and gives it back.
                log.warning("%s stays in the spool: %s", printable(claim.state.path), error)

    @property
    def _syncs(self) -> bool:
        """Whether single writes, as opposed to groups of them, are synced to the disk."""
        return self._durability != "off"

    def _opened(self, claim: Claim) -> Claim:
        with self._lock:
            self._open[claim.state.job_id] = claim
            if claim.state.in_flight:
                self._begun.add(claim.state.job_id)
            else:
                self._begun.discard(claim.state.job_id)
        return claim

    def _save(self, changed: Sequence[Claim], *, sync: bool) -> None:
        """Saves the states of these claims, those in the journal at once."""
        journaled = [claim.state for claim in changed if claim.journal is not None]
        if journaled:
            self._node.journal.append(journaled, sync=sync)
        for claim in changed:
            if claim.journal is None:
                claim.saved(claim.state, sync=sync)
            self._opened(claim)

    def _closed(self, claim: Claim) -> None:
        with self._lock:
            self._open.pop(claim.state.job_id, None)
            self._begun.discard(claim.state.job_id)
        if claim.journal is not None:
            claim.journal.forget(claim.state.job_id)

    @contextmanager
    def _closing(self, claim: Claim) -> Iterator[None]:
        with self._holding_up(claim):
            yield
        self._closed(claim)

    @contextmanager
    def _holding_up(self, claim: Claim) -> Iterator[None]:
        """Defers the job, and raises HeldUp, if a path of its own cannot be used."""
        try:
            yield
        except OSError as error:
            self._path_errors.raise_unless_of_one_path(error)
            claim = claims.reloaded(claim)  # names may have been chosen meanwhile
            until = time.time() + HELD_UP_SECONDS
            self._park(claim.saved_apart(claim.state.held_up(until), sync=self._syncs))
            raise self._path_errors.held_up(claim.state, error) from error

    def _park(self, claim: Claim) -> None:
        claims.park(self._layout, claim)
        self._closed(claim)


@contextmanager
def opened(
    layout: Layout,
    settings: SpoolSettings,
    naming: Naming = VERSIONED,
    *,
    former_nodes: set[str] | None = None,
    describe: Describe = no_details,
    holds_input: bool = False,
) -> Iterator[Spool]:
    """The spool of a new node, which leaves at the end. Interrupted if another process holds the input
    exclusively, unless this one `holds_input`, which it has from its parent.

    The node's heartbeats contain what `describe` returns. Jobs that the `former_nodes` of this process left
    in flight are not counted as crashed; the new node is added to them.
    """
    places = Places(layout)
    for directory in (layout.nodes, layout.work, layout.deferred):
        ensure_below(layout.input, directory)
    for directory in (layout.stage, layout.names):
        ensure_below(layout.output, directory)
    if layout.done is not None:
        layout.ensure_kept(layout.done)
    with joined(layout, settings, describe, holds_input=holds_input) as node:
        former_nodes = set() if former_nodes is None else former_nodes
        for name in former_nodes:  # one that lost its output could not remove its files there
            results.remove_stage(layout.stage / name, leftovers=layout.stage / f"left-{name}")
        former_nodes.add(node.name)
        yield Spool(
            layout,
            node,
            settings,
            naming,
            places=places,
            former_nodes=frozenset(former_nodes),
        )
