"""Plug-ins by name: the entry points of sampoll and of other packages. None is loaded before it is requested.

A plug-in that cannot be imported, or has the name of one of ours, is reported and skipped; others still work.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any

log = logging.getLogger(__name__)

SEGMENTERS = "sampoll.segmenters"
FORMATS = "sampoll.formats"
DATASETS = "sampoll.datasets"
IMPORTERS = "sampoll.importers"

OURS = "sampoll"


class PluginBroken(Exception):
    """A plug-in cannot be imported; the message names it and its package."""


_installed = cache(entry_points)
"""All entry points of this environment, searched once, because a file of every package is read."""


@cache
def plugins(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group by name, sorted. If several have the same name, sampoll's own is used,
    otherwise that of the alphabetically first package."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(_installed().select(group=group), key=_rank):
        found.setdefault(point.name, point)
    return dict(sorted(found.items()))


def _rank(point: EntryPoint) -> tuple[bool, str]:
    return package_of(point) != OURS, package_of(point)


@cache
def _warn_of_others(group: str, name: str) -> None:
    """Logs the packages whose plug-in of this name is not used; once, when the name is first used."""
    used, *others = sorted(_installed().select(group=group, name=name), key=_rank)
    for point in others:
        log.warning(
            "the package %s brings %r for %s, which %s has already: it is not used",
            package_of(point),
            name,
            group,
            package_of(used),
        )


def package_of(point: EntryPoint) -> str:
    """The name of the package that provides `point`."""
    return _name_of(point.dist) if point.dist is not None else "unknown"


@cache
def _name_of(package: Distribution) -> str:
    """The name of a package, for which all that is known of the package is read."""
    return package.name


def load(point: EntryPoint) -> Any:
    """The object that an entry point refers to; PluginBroken if it cannot be imported."""
    _warn_of_others(point.group, point.name)
    try:
        return point.load()
    except Exception as error:  # another package's own code may raise anything
        raise PluginBroken(
            f"{point.name!r} of the package {package_of(point)} cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error


def load_all(group: str) -> Iterator[tuple[str, Any]]:
    """The names of a group, each with its object; one that cannot be imported is skipped with a warning."""
    yield from load_some(group, plugins(group))


def load_some(group: str, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """The same for those of a group that have these names."""
    known = plugins(group)
    for name in names:
        if (point := known.get(name)) is None:
            continue
        try:
            yield name, load(point)
        except PluginBroken as error:
            log.warning("%s: it is passed over", error)
