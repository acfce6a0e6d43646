"""One consumer of a group: reads entries, keeps them with heartbeats, and ends them.

An entry belongs to the worker that has it in its pending list. The worker sends several heartbeats in every
lease; if it sends none for a whole lease, other workers may take its entries.
"""

import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event, Thread
from typing import Any, TypeVar

from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as Stalled

from sampoll.config.settings.streams import StreamsSettings
from sampoll.core.errors import ConfigurationError, ServerUnavailable
from sampoll.core.events import Listener, Paused, Resumed, ignore_events
from sampoll.core.names import printable
from sampoll.core.wording import counted
from sampoll.transports.redis.connection import Backoff, RedisServer, refusal
from sampoll.transports.redis.streams.entries import Fields
from sampoll.transports.redis.streams.scripts import Scripts

log = logging.getLogger(__name__)

T = TypeVar("T")

BLOCK_SECONDS = 1.0
"""How long the server may wait for a new entry: less than the socket's timeout."""
HEARTBEATS_PER_LEASE = 3
MAX_RECOVERY_INTERVAL_SECONDS = 1.0
"""The longest time between two searches for jobs of dead workers."""
LAST_SECONDS = 5.0
"""How long a stopping worker retries if the server is unavailable."""
CONSUMER_EXPIRY_LEASES = 100
"""A consumer without entries is removed once it has been idle for so many leases."""
COMMITTED, NOT_OWNED = 1, -1
"""Results of the script that commits a job."""


@dataclass
class Counts:
    """What an operator should know: how many entries were deleted before they were done, how many were taken
    over by other workers, and how often the group had to be created again."""

    trimmed: int = 0
    lost: int = 0
    groups_made: int = 0


class Worker:
    """A consumer with a new name for each start, so that two processes never share entries by mistake."""

    def __init__(
        self,
        server: RedisServer,
        streams: StreamsSettings,
        lease_seconds: float,
        emit: Listener = ignore_events,
        is_well: Callable[[], bool] = lambda: True,
    ) -> None:
        """Calls `emit` with Paused and Resumed events. If `is_well` returns False, others may take over."""
        self.counts = Counts()
        self._emit = emit
        self._is_well = is_well
        self.stream, self.group = streams.stream, streams.group
        self.results, self.failed = f"{self.stream}:results", f"{self.stream}:failed"
        self._attempts = f"{self.stream}:attempts"
        self._server = server
        self._lease_seconds = lease_seconds
        self._result_ttl_seconds = streams.result_ttl_seconds
        self._name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._client = server.client()
        self._scripts = Scripts(self._client)
        self._stop = Event()
        self._is_over = Event()
        self._may_have_more = True
        self._looked_at = 0.0
        self._heart: Thread | None = None

    def join(self, stop: Event) -> None:
        """Joins the group, and creates it if there is none, as soon as the server can be reached. Once `stop`
        is set, no call retries without a limit any more."""
        self._stop = stop
        self._persistently(self._prepare, stop)

    def keep_alive(self, held: Callable[[], Collection[str]], on_lost: Callable[[str], None]) -> None:
        """Starts the heartbeats for the `held` entries; calls `on_lost` with each that another worker has."""
        self._heart = Thread(target=self._beat, args=(held, on_lost), name="heartbeat")
        self._heart.start()

    def close(self, begun: Sequence[str] = (), others: Sequence[str] = ()) -> None:
        """Stops the heartbeats, and releases these entries to other workers at once; the attempts of those
        that were begun are not counted."""
        self._is_over.set()
        if self._heart is not None:
            self._heart.join()  # a late heartbeat would renew our lease
        if begun or others:
            self._release(begun, others)
        self._client.close()

    # Entries

    def read(
        self, at_most: int, held: Collection[str], stop: Event, *, may_wait: bool
    ) -> Sequence[tuple[str, Fields | None]]:
        """Entries that are ours from now on, and not yet `held`; a deleted entry has None as its fields."""
        return self._persistently(partial(self._read, at_most, held, may_wait=may_wait), stop) or ()

    def attempts_of(self, entry: str) -> int:
        """How often it was begun."""
        return int(self._persistently(lambda: self._client.hget(self._attempts, entry)) or 0)

    def begin(self, attempts: Mapping[str, int]) -> Sequence[int]:
        """Counts the attempt of this number of each entry, and returns its number; 0 for one that is not ours
        any more."""
        keys, owner = (self.stream, self._attempts), (self.group, self._name)
        numbered = [part for entry, number in attempts.items() for part in (entry, str(number))]
        counts: list[int] = self._call(self._scripts.begin, keys, *owner, *numbered)
        return counts

    def commit(
        self, entry: str, name: str, reply: bytes, failed: Mapping[str, str | bytes] | None = None
    ) -> bool:
        """Publishes a reply, keeps the fields of a job that has `failed`, and ends the entry; False, with
        nothing done, if it is not ours any more."""
        keys = (self.stream, self.results, self._attempts, self.failed)
        more = [part for pair in (failed or {}).items() for part in pair]
        arguments = (self.group, self._name, entry, name, reply, str(self._result_ttl_seconds), *more)
        is_unsure = False

        def publish() -> int:
            nonlocal is_unsure
            try:
                return int(self._scripts.commit(keys=keys, args=arguments))
            except (LostConnection, Stalled):
                is_unsure = True  # the answer was lost, and the server may have done it
                raise

        outcome = self._persistently(publish)
        return outcome == COMMITTED or (is_unsure and outcome == NOT_OWNED)

    def forget(self, entry: str) -> None:
        """Ends an entry that was deleted."""
        self._persistently(lambda: self._client.xack(self.stream, self.group, entry))

    def _release(self, begun: Sequence[str], others: Sequence[str]) -> None:
        keys, owner = (self.stream, self._attempts), (self.group, self._name)
        try:
            self._scripts.release(keys=keys, args=[*owner, str(len(begun)), *begun, *others])
        except RedisError as error:
            log.warning(
                "%s could not be handed back; other workers get them after a lease: %s",
                counted(len(begun) + len(others), "job"),
                error,
            )

    def _call(self, script: Callable[..., Any], keys: Sequence[str], *arguments: str | bytes) -> Any:
        return self._persistently(lambda: script(keys=keys, args=arguments))

    def _read(
        self, at_most: int, held: Collection[str], *, may_wait: bool
    ) -> Sequence[tuple[str, Fields | None]]:
        if self._may_have_more:
            # Entries that the server gave us in an answer that we never received.
            own = self._client.xreadgroup(
                self.group, self._name, {self.stream: "0"}, count=at_most + len(held)
            )
            ours = [(entry, fields) for entry, fields in _entries(own) if entry not in held][:at_most]
            if ours:
                return ours
            self._may_have_more = False
        if time.monotonic() - self._looked_at > min(
            self._lease_seconds / HEARTBEATS_PER_LEASE, MAX_RECOVERY_INTERVAL_SECONDS
        ):
            self._looked_at = time.monotonic()
            lease_ms = int(1000 * self._lease_seconds)
            _, taken, *deleted = self._client.xautoclaim(
                self.stream, self.group, self._name, min_idle_time=lease_ms, count=at_most
            )
            self.note_trimmed(len(deleted[0]) if deleted else 0)
            # They include our own entries if our heartbeat was late.
            others = [(_text(entry), fields or None) for entry, fields in taken]
            if fresh := [(entry, fields) for entry, fields in others if entry not in held]:
                return fresh
        block = int(1000 * BLOCK_SECONDS) if may_wait else None
        return list(
            _entries(self._client.xreadgroup(self.group, self._name, {self.stream: ">"}, at_most, block))
        )

    def note_trimmed(self, count: int) -> None:
        """Counts and logs entries that were deleted before they were done."""
        if count:
            self.counts.trimmed += count
            jobs = counted(count, "job was", "jobs were")
            log.error("%s deleted from %s before the work was done", jobs, self.stream)

    def note_lost(self, name: str) -> None:
        """Counts and logs a job that another worker has taken from us."""
        self.counts.lost += 1
        log.warning("%s: another worker has it now, and the result of that worker is used", printable(name))

    # The group

    def _prepare(self) -> None:
        self._make_group()
        self._warn_of_settings()
        idle_ms = 1000 * CONSUMER_EXPIRY_LEASES * self._lease_seconds
        for consumer in self._client.xinfo_consumers(self.stream, self.group):
            if consumer["pending"] == 0 and consumer["idle"] > idle_ms:
                self._client.xgroup_delconsumer(self.stream, self.group, consumer["name"])

    def _make_group(self) -> None:
        try:
            # From the beginning: jobs that were queued before the group existed are to be done too.
            self._client.xgroup_create(self.stream, self.group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _warn_of_settings(self) -> None:
        try:
            settings = {
                **self._client.config_get("appendonly"),
                **self._client.config_get("maxmemory-policy"),
            }
        except ResponseError:
            log.info("%s does not report its settings: check appendonly and maxmemory-policy", self._server)
            return
        if settings.get("appendonly") != "yes":
            log.warning(
                "%s writes no append-only file: if it crashes, jobs are lost (appendonly yes)", self._server
            )
        if settings.get("maxmemory-policy", "noeviction") != "noeviction":
            log.warning("%s may evict jobs when it is full (maxmemory-policy noeviction)", self._server)

    # Heartbeats, and retries while the server is unavailable

    def _beat(self, held: Callable[[], Collection[str]], on_lost: Callable[[str], None]) -> None:
        client = self._server.client()
        while not self._is_over.wait(self._lease_seconds / HEARTBEATS_PER_LEASE):
            entries = held()
            if not entries or not self._is_well():
                continue
            try:
                owner = (self.group, self._name)
                lost = self._scripts.heartbeat(keys=[self.stream], args=[*owner, *entries], client=client)
            except RedisError as error:
                log.debug("no heartbeat: %s", error)
                continue
            for entry in map(_text, lost):
                on_lost(entry)
        client.close()

    def _persistently(self, act: Callable[[], T], stop: Event | None = None) -> T | None:
        """Retries `act` until it succeeds, and returns its result. With a `stop`, returns None once that is
        set; without one, ServerUnavailable if the worker is stopping and LAST_SECONDS have passed.

        PermissionRefused if the server rejects our login or rights, ConfigurationError if the key holds no
        stream.
        """
        backoff, is_new = Backoff(), True
        began = time.monotonic()
        while stop is None or not stop.is_set():
            try:
                result = act()
                if not is_new:
                    self._emit(Resumed())
                return result
            except RedisError as error:
                if (refused := refusal(error, self._server)) is not None:
                    raise refused from error
                self._may_have_more = True
                if "NOGROUP" in str(error):
                    self.counts.groups_made += 1
                    log.error("the group %s was deleted, and is created again", self.group)
                    self._persistently(self._make_group, stop)
                elif "WRONGTYPE" in str(error):
                    raise ConfigurationError(f"{self.stream} on {self._server} is no stream") from error
                else:
                    # An error once, not at each retry.
                    if is_new:
                        self._emit(Paused(ServerUnavailable(f"{self._server}: {error}")))
                    level = logging.ERROR if is_new else logging.DEBUG
                    log.log(level, "paused: %s: %s", self._server, error)
                is_new = False
                if stop is None and self._stop.is_set() and time.monotonic() - began > LAST_SECONDS:
                    raise ServerUnavailable(f"stopped, while {self._server} could not be reached") from error
            backoff.pause(self._is_over if stop is None else stop)
        return None


def _entries(answer: Any) -> Iterator[tuple[str, Fields | None]]:
    for _, entries in answer or []:
        for entry, fields in entries:
            yield _text(entry), fields or None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
