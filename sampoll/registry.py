"""Models and formats by name: built-ins, other packages' entry points, and a user's own factory."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeAlias

from sampoll.errors import ModelUnavailable, SampollError, UsageError
from sampoll.formats.options import FormatOptions
from sampoll.interfaces import DatasetFormat, Format, Segmenter
from sampoll.settings import ModelSettings

SEGMENTERS = "sampoll.segmenters"
FORMATS = "sampoll.formats"
DATASETS = "sampoll.datasets"
RECORD = "opex"
"""The format that is always written, and last."""


Factory: TypeAlias = Callable[[ModelSettings], Segmenter[Any]]
"""Makes a segmenter that is ready to work, which may take long."""


def find_factory(options: ModelSettings) -> Factory:
    """The factory that `options.model` names; ModelUnavailable says what to change."""
    if ":" in options.model:
        return _imported(options.model)
    known = {point.name: point for point in entry_points(group=SEGMENTERS)}
    if options.model not in known:
        names = ", ".join(sorted(known))
        raise ModelUnavailable(f"no {options.model!r} among models: {names}, or package.module:factory")
    factory: Factory = known[options.model].load()
    return factory


def load_segmenter(options: ModelSettings, factory: Factory) -> Segmenter[Any]:
    """The segmenter that `factory` makes; ModelUnavailable if it cannot."""
    try:
        return factory(options)
    except SampollError:
        raise
    except Exception as error:
        raise ModelUnavailable(
            f"--model {options.model} could not be loaded: {type(error).__name__}: {error}"
        ) from error


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


def _imported(name: str) -> Factory:
    """The object called package.module:attribute; the working directory is searched last."""
    module_name, _, attribute = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        module = import_module(module_name)
    except Exception as error:
        raise ModelUnavailable(
            f"--model {name}: importing {module_name} failed: {type(error).__name__}: {error}"
        ) from error
    if not callable(factory := getattr(module, attribute, None)):
        raise ModelUnavailable(f"--model {name}: {module_name} has no callable {attribute!r}")
    found: Factory = factory
    return found
