"""Divides a command's settings and cores among its workers; pure."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from sampoll.config.settings import Settings


def core_shares(cores: Sequence[int], count: int) -> list[frozenset[int]]:
    """The cores of each worker: equally many, give or take one; with more workers than cores, one each."""
    if count >= len(cores):
        return [frozenset({cores[index % len(cores)]}) for index in range(count)]
    bounds = [len(cores) * index // count for index in range(count + 1)]
    return [frozenset(cores[a:b]) for a, b in pairwise(bounds)]


def worker_settings(settings: Settings) -> Mapping[int, Settings]:
    """The settings of each worker, by its number, from 1, without what the parent does for all, and without
    the division itself. With fewer pairs than workers to begin, there are as many workers as pairs."""
    devices = settings.processes.devices or (settings.model.device,)
    count = len(settings.processes.devices) or settings.processes.workers or 1
    limit = settings.spool.limit
    if limit is not None:
        count = min(count, limit)
    common = _without_what_the_parent_does(settings)
    return {
        index + 1: _updated(
            common,
            model={"device": devices[index % len(devices)]},
            spool={"limit": _share(limit, index, count)},
        )
        for index in range(count)
    }


def _without_what_the_parent_does(settings: Settings) -> Settings:
    return _updated(
        settings,
        spool={"stop_file": None, "exclusive": False},
        operations={"report": None, "progress": False},
        monitoring={"http": None, "metrics_file": None},
        processes={"workers": None, "devices": ()},
    )


def _updated(settings: Settings, **sections: Mapping[str, Any]) -> Settings:
    changed = {name: getattr(settings, name).model_copy(update=new) for name, new in sections.items()}
    return settings.model_copy(update=changed)


def _share(limit: int | None, index: int, count: int) -> int | None:
    return None if limit is None else (limit + index) // count
