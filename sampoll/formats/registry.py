"""Formats by name: ours, and those of other packages.

A format may have these optional attributes, each with a default if it is missing:

needs_image   whether `render` opens the image, which only a run has at hand; False, if nothing else
thumbnails    the suffixes of those of its files that a report may show, each with its rank: one of rank 0 is
              shown in the place of what the report would draw
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

from sampoll.config.plugins import DATASETS, FORMATS, PluginBroken, load, load_all, plugins
from sampoll.core.errors import ConfigurationError, UsageError
from sampoll.core.protocols import DatasetFormat, Format
from sampoll.core.suggestions import did_you_mean
from sampoll.formats.options import FormatOptions

log = logging.getLogger(__name__)

RECORD = "opex"
"""The format that is always written, and last."""


@dataclass(frozen=True)
class Formats:
    """What is written for each result, and what for all of them together."""

    of_results: Sequence[Format]
    of_datasets: Sequence[DatasetFormat]


def load_format(name: str, options: FormatOptions) -> Format:
    """The format of this name for single results; ConfigurationError if it cannot be imported."""
    rendering: Format = _loaded(plugins(FORMATS)[name])(options)
    return rendering


def needs_image(form: Format) -> bool:
    return bool(getattr(form, "needs_image", False))


def thumbnail_ranks() -> dict[str, int]:
    """The suffixes of files that a report may show, each with its rank; 0 is the best."""
    ranks: dict[str, int] = {}
    for name, factory in load_all(FORMATS):
        try:
            ranks.update(getattr(factory(FormatOptions()), "thumbnails", {}))
        except Exception as error:  # noqa: BLE001  another package's own code may raise anything
            log.warning("the format %r is passed over: %s: %s", name, type(error).__name__, error)
    return ranks


def result_formats(names: Sequence[str]) -> list[str]:
    """Of these names, those of formats for single results, but for the record."""
    known = plugins(FORMATS)
    return [name for name in names if name in known and name != RECORD]


def load_formats(names: Sequence[str], options: FormatOptions) -> Formats:
    """The formats of these names, except the record, which is always written. UsageError for an unknown name,
    ConfigurationError for a format that cannot be imported."""
    of_results, of_datasets = plugins(FORMATS), plugins(DATASETS)
    for name in names:
        if name not in of_results and name not in of_datasets:
            known = sorted({*of_results, *of_datasets})
            raise UsageError(
                f"no {name!r} among formats (--format): {', '.join(known)}{did_you_mean(name, known)}"
            )
    return Formats(
        [_loaded(of_results[name])(options) for name in result_formats(names)],
        [_loaded(of_datasets[name])(options) for name in names if name in of_datasets],
    )


def _loaded(point: EntryPoint) -> Any:
    try:
        return load(point)
    except PluginBroken as error:
        raise ConfigurationError(f"--format {point.name}: {error}") from error
