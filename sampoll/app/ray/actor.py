"""The class of which Ray makes the actors. It imports little: an actor keeps to its cores before libraries
count them."""

import os
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sampoll.app.ray.attempts import Place
from sampoll.app.ray.book import BookOfThis
from sampoll.app.workers.shares import core_shares
from sampoll.files.cores import SHARERS

if TYPE_CHECKING:
    from sampoll.app.ray.order import Order


class BatchActor:
    """Does rows, and returns their names and outcomes."""

    def __init__(self, order: "Order", book: Any) -> None:
        import ray

        context = ray.get_runtime_context()
        own_book = BookOfThis(book)
        _take_place(own_book.join(context.get_actor_id() or "", context.get_node_id()))
        from sampoll.app.ray.worker import Worker

        self._worker = Worker(order, own_book, f"{socket.gethostname()} ({ray.util.get_node_ip_address()})")

    def __call__(self, rows: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
        done = self._worker.done(list(rows["row"]))
        return {"name": [name for name, _ in done], "outcome": [outcome for _, outcome in done]}


def _take_place(place: Place) -> None:
    """Keeps this process on its share of the cores of its host, as workers of one command are."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, core_shares(sorted(os.sched_getaffinity(0)), place.count)[place.index])
    os.environ[SHARERS] = str(place.count)
    os.environ.pop("OMP_NUM_THREADS", None)  # Ray's: what it schedules by
