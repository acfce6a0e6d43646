"""Models and formats by name: built-ins, other packages' entry points, and a user's own factory."""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeAlias

from sampoll.config.settings import ModelSettings
from sampoll.core.errors import ModelUnavailable, SampollError
from sampoll.core.protocols import Segmenter

SEGMENTERS = "sampoll.segmenters"


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
