"""`sampoll send --stream`: puts pairs into a stream, no faster than workers process them."""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from threading import Event

from sampoll.app.client.content import content_of
from sampoll.app.signals import outside_the_main_thread, stopping_on_signals
from sampoll.core.errors import Interrupted, JobError
from sampoll.core.names import printable
from sampoll.core.summary import CommandSummary
from sampoll.inputs.discovery import Pair
from sampoll.monitoring.progress_bar import Progress, progress
from sampoll.transports.redis.messages import MAX_VALUE_BYTES
from sampoll.transports.redis.streams.client import NewJob, StreamClient

log = logging.getLogger(__name__)

FULL_POLL_SECONDS = 0.2
"""How often to poll a full stream."""


@dataclass(frozen=True)
class EnqueueOptions:
    """How to put pairs into a stream: only while it has fewer than `at_most` jobs; pairs that were put in
    before, only with `again`."""

    at_most: int
    again: bool


def queue(
    jobs: StreamClient, pairs: Iterable[Pair | JobError], options: EnqueueOptions, *, show_progress: bool
) -> tuple[int, CommandSummary]:
    """Puts every pair into the stream; returns the exit code and a summary."""
    stop = Event()
    with stopping_on_signals(stop.set), progress("pair", is_shown=show_progress) as bar:
        queuer = _Queuer(jobs, options, bar)
        outside_the_main_thread(partial(queuer.run, pairs, stop))
    figures = {"queued": queuer.queued, "known": queuer.known, "failed": queuer.failed}
    summary = CommandSummary(", ".join(f"{count} {what}" for what, count in figures.items()), figures)
    if stop.is_set():
        stopped = f"{summary}; stopped before everything was queued: run it again"
        return Interrupted.exit_code, replace(summary, line=stopped)
    return (JobError.exit_code if queuer.failed else 0), summary


class _Queuer:
    def __init__(self, jobs: StreamClient, options: EnqueueOptions, bar: Progress) -> None:
        self.queued = self.known = self.failed = 0
        self._jobs = jobs
        self._queueing = options
        self._bar = bar

    def run(self, pairs: Iterable[Pair | JobError], stop: Event) -> None:
        for pair in pairs:
            while self._jobs.waiting() >= self._queueing.at_most and not stop.wait(FULL_POLL_SECONDS):
                pass
            if stop.is_set():
                return
            try:
                self._put(pair)
            except JobError as error:
                log.error("%s", error)
                self.failed += 1
                self._bar.fail()
            else:
                self._bar.advance()

    def _put(self, pair: Pair | JobError) -> None:
        if isinstance(pair, JobError):
            raise pair
        image, prompt = content_of(pair, MAX_VALUE_BYTES)
        digest = hashlib.sha256(hashlib.sha256(image).digest() + prompt).hexdigest()
        job = NewJob(pair.name, image, prompt, printable(pair.image_path))
        if self._jobs.send(job, digest, again=self._queueing.again):
            log.info("%s: queued", printable(pair.name))
            self.queued += 1
        else:
            log.info("%s: was queued before", printable(pair.name))
            self.known += 1
