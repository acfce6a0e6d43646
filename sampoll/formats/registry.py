"""Formats by name: ours, and those of other packages."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points

from sampoll.core.errors import UsageError
from sampoll.core.protocols import DatasetFormat, Format
from sampoll.formats.options import FormatOptions

FORMATS = "sampoll.formats"


DATASETS = "sampoll.datasets"


RECORD = "opex"
"""The format that is always written, and last."""


@dataclass(frozen=True)
class Formats:
    """What is written for each result, and what for all of them together."""

    of_results: Sequence[Format]
    of_datasets: Sequence[DatasetFormat]


def load_format(name: str, options: FormatOptions) -> Format:
    """The format of this name for single results."""
    (point,) = entry_points(group=FORMATS, name=name)
    rendering: Format = point.load()(options)
    return rendering


def result_formats(names: Sequence[str]) -> list[str]:
    """Of these names, those of formats for single results, but for the record."""
    known = {point.name for point in entry_points(group=FORMATS)}
    return [name for name in names if name in known and name != RECORD]


def load_formats(names: Sequence[str], options: FormatOptions) -> Formats:
    """The formats of these names, but for the record, which is not to be chosen; UsageError for a name that
    is none."""
    of_results = {point.name: point for point in entry_points(group=FORMATS)}
    of_datasets = {point.name: point for point in entry_points(group=DATASETS)}
    for name in names:
        if name not in of_results and name not in of_datasets:
            known = ", ".join(sorted({*of_results, *of_datasets}))
            raise UsageError(f"no {name!r} among formats (--format): {known}")
    return Formats(
        [of_results[name].load()(options) for name in result_formats(names)],
        [of_datasets[name].load()(options) for name in names if name in of_datasets],
    )
