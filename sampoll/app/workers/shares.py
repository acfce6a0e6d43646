"""Divides a command's settings and cores among its workers; pure."""

from collections.abc import Sequence
from itertools import pairwise

from sampoll.config.settings import Settings
from sampoll.config.settings.processes import ProcessSettings


def core_shares(cores: Sequence[int], count: int) -> list[frozenset[int]]:
    """The cores of each worker: equally many, give or take one; with more workers than cores, one each."""
    if count >= len(cores):
        return [frozenset({cores[index % len(cores)]}) for index in range(count)]
    bounds = [len(cores) * index // count for index in range(count + 1)]
    return [frozenset(cores[a:b]) for a, b in pairwise(bounds)]


def worker_settings(settings: Settings) -> list[Settings]:
    """The settings of each worker, without what the parent does for all of them: the report, the bar, and the
    division itself. With fewer pairs than workers to begin, there are as many workers as pairs."""
    devices = settings.processes.devices or (settings.model.device,)
    count = len(settings.processes.devices) or settings.processes.workers or 1
    limit = settings.spool.limit
    if limit is not None:
        count = min(count, limit)
    return [
        settings.model_copy(
            update={
                "model": settings.model.model_copy(update={"device": devices[index % len(devices)]}),
                "spool": settings.spool.model_copy(update={"limit": _share(limit, index, count)}),
                "operations": settings.operations.model_copy(update={"report": None, "progress": False}),
                "processes": ProcessSettings(),
            }
        )
        for index in range(count)
    ]


def _share(limit: int | None, index: int, count: int) -> int | None:
    return None if limit is None else (limit + index) // count
