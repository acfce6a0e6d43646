"""Models and formats by name: built-ins, other packages' entry points, and a user's own factory."""

import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from sampoll.errors import ModelUnavailable
from sampoll.interfaces import Format, Segmenter
from sampoll.settings import ModelSettings

SEGMENTERS = "sampoll.segmenters"
FORMATS = "sampoll.formats"


def load_segmenter(options: ModelSettings) -> Segmenter[Any]:
    """The segmenter that `options.model` names, ready to work; ModelUnavailable says what to change.

    A factory, ours or a user's, is called with the model settings.
    """
    if ":" in options.model:
        factory = _imported(options.model)
    else:
        known = {point.name: point for point in entry_points(group=SEGMENTERS)}
        if options.model not in known:
            names = ", ".join(sorted(known))
            raise ModelUnavailable(f"no {options.model!r} among models: {names}, or package.module:factory")
        factory = known[options.model].load()
    segmenter: Segmenter[Any] = factory(options)
    return segmenter


def load_format(name: str) -> Format:
    """The output format of this name."""
    (point,) = entry_points(group=FORMATS, name=name)
    rendering: Format = point.load()()
    return rendering


def _imported(name: str) -> Any:
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
    return factory
