"""The driver of a run by actors of Ray."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Event, Thread
from typing import Any

from sampoll.app.ray.actor import BatchActor
from sampoll.app.ray.attempts import ActorDied, News
from sampoll.app.ray.book import Book
from sampoll.app.ray.cluster import connected
from sampoll.app.ray.order import Order
from sampoll.app.ray.rows import Row
from sampoll.config.settings import Settings
from sampoll.core.errors import ConfigurationError, Interrupted, SampollError
from sampoll.core.events import Event as SampollEvent
from sampoll.core.events import Listener, ModelLoaded
from sampoll.core.stopping import STOP_POLL_SECONDS

ROWS_PER_BLOCK = {"cpu": 8, "cuda": 64}
"""Rows that an actor is given together: on a GPU, one image takes milliseconds."""
MAX_BLOCKS = 20_000
BLOCKS_PER_ACTOR = 4
"""At least, so that all actors end at about the same time."""
HALT_SECONDS = 15.0
"""How long the operation of Ray may take to end."""
CALLS_PER_ACTOR = 2
"""The rows of the next call are read while those of the last one are segmented."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources:
    """What each actor is given by the scheduler of Ray."""

    device: str
    cpus: int
    gpus: int
    actors_per_host: int


def run_on_ray(
    order: Order, rows: Sequence[Row], stop: Event, emit: Listener, on_ready: Callable[[], None]
) -> None:
    """Does the rows by actors; returns at the end, or once those have stopped. Raises SampollError if they
    cannot work."""
    settings = order.settings
    actors = min(_actors(settings), len(rows))
    with connected(settings.batch.ray_address, actors) as ray:
        if not stop.is_set():
            _Run(ray, order, rows, actors, stop, emit, on_ready).run()


class _Run:
    def __init__(
        self,
        ray: Any,
        order: Order,
        rows: Sequence[Row],
        actors: int,
        stop: Event,
        emit: Listener,
        on_ready: Callable[[], None],
    ) -> None:
        self._ray = ray
        self._actors = actors
        self._rows = rows
        self._stop = stop
        self._emit = emit
        self._on_ready = on_ready
        self._is_ready = False
        self._resources = resources_of(order.settings, actors, _hosts(ray))
        model = order.settings.model.model_copy(update={"device": self._resources.device})
        self._order = replace(order, settings=order.settings.model_copy(update={"model": model}))
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._book = (
            ray.remote(Book)
            .options(num_cpus=0, scheduling_strategy=here)
            .remote(actors, self._resources.actors_per_host)
        )
        self._halt = Event()
        self._trouble: Exception | None = None

    def run(self) -> None:
        thread = Thread(target=self._do_rows, name="rows", daemon=True)
        thread.start()
        try:
            self._watch(thread)
        finally:
            # The rows that are left come back at once, so that it sees this. The process must not end before.
            self._halt.set()
            thread.join(HALT_SECONDS)

    def _watch(self, thread: Thread) -> None:
        """Tells what actors tell, until the rows have ended, or actors have stopped."""
        try:
            is_told = False
            while thread.is_alive():
                thread.join(STOP_POLL_SECONDS)
                news = self._take()
                if news.error is not None:
                    raise news.error
                if self._stop.is_set():
                    if not is_told:
                        self._ray.get(self._book.stop.remote())
                        is_told = True
                    elif not news.working:
                        return
            if (error := self._take().error) is not None:
                raise error
        except SampollError:
            raise
        except Exception as error:  # noqa: BLE001  whatever Ray raises if its processes have gone
            self._trouble = self._trouble or error
        if self._trouble is not None and not self._stop.is_set():
            reason = f"{type(self._trouble).__name__}: {str(self._trouble).strip().partition(chr(10))[0]}"
            raise Interrupted(
                f"the cluster of Ray has failed: {reason}: the same command does the rest"
            ) from self._trouble

    def _do_rows(self) -> None:
        """The one operation of the run; its rows say when it has ended, and records what is done."""
        ray, resources, count = self._ray, self._resources, len(self._rows)
        try:
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            size = rows_per_block(resources.device, count, self._actors)
            found = ray.data.from_items(
                [{"row": row.packed()} for row in self._rows], override_num_blocks=math.ceil(count / size)
            ).map_batches(
                BatchActor,
                batch_size=size,
                batch_format="numpy",
                compute=ray.data.ActorPoolStrategy(
                    size=self._actors,
                    max_tasks_in_flight_per_actor=2 * CALLS_PER_ACTOR,
                    max_concurrent_calls_per_actor=CALLS_PER_ACTOR,
                    enable_true_multi_threading=True,
                ),
                num_cpus=resources.cpus,
                num_gpus=resources.gpus,
                fn_constructor_args=(self._order, self._book),
            )
            for _ in found.iter_batches(batch_size=None, batch_format="pyarrow"):
                if self._halt.is_set():
                    break  # which has Ray end its operation
        except Exception as error:  # noqa: BLE001  raised by run, if there is no better reason
            self._trouble = error

    def _take(self) -> News:
        """Shows what actors have told."""
        news: News = self._ray.get(self._book.news.remote())
        for message in news.messages:
            if isinstance(message, logging.LogRecord):
                logger = logging.getLogger(message.name)
                if logger.isEnabledFor(message.levelno):
                    logger.handle(message)
            elif isinstance(message, ActorDied):
                facts = {"event": "actor-died", "in_flight": message.in_flight}
                log.warning(
                    "an actor has died: the %d images that it had in flight run again, each alone",
                    message.in_flight,
                    extra=facts,
                )
            elif isinstance(message, ModelLoaded):
                self._note_ready(message)
            else:
                self._emit(message)
        return news

    def _note_ready(self, event: SampollEvent) -> None:
        """Once: all actors have the same model."""
        if not self._is_ready:
            self._is_ready = True
            self._emit(event)
            self._on_ready()


def rows_per_block(device: str, rows: int, actors: int) -> int:
    """How many rows an actor is given together."""
    most = max(1, rows // (BLOCKS_PER_ACTOR * actors))
    return max(min(ROWS_PER_BLOCK[device], most), math.ceil(rows / MAX_BLOCKS))


def resources_of(settings: Settings, actors: int, hosts: Sequence[dict[str, float]]) -> Resources:
    """What each actor needs of `hosts`, which have theirs as Ray names them; ConfigurationError for a device
    that it cannot have."""
    gpus = sum(host.get("GPU", 0.0) for host in hosts)
    device = settings.model.device
    if device.startswith("cuda:"):
        raise ConfigurationError(f"--device {device}: Ray chooses the GPU of each actor: give --device cuda")
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    if device == "cuda" and actors > gpus:
        if settings.batch.ray_address is None:
            raise ConfigurationError(f"{actors} actors need a GPU each, and this machine has {gpus:g}")
        log.warning("%d actors need a GPU each, and the cluster has %g: the others wait", actors, gpus)
    per_host = math.ceil(actors / max(1, len(hosts)))
    if device == "cuda":
        return Resources(device, 1, 1, max(per_host, *(int(host.get("GPU", 0)) for host in hosts)))
    cores = min((int(host.get("CPU", 1)) for host in hosts), default=1)
    return Resources(device, max(1, cores // per_host), 0, per_host)


def _hosts(ray: Any) -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _actors(settings: Settings) -> int:
    assert settings.batch.ray_actors is not None
    return settings.batch.ray_actors
