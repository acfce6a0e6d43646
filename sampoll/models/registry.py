"""Models and formats by name: built-ins, other packages' entry points, and a user's own factory."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from sampoll.config.plugins import SEGMENTERS, PluginBroken, load, load_all, plugins
from sampoll.config.settings import ModelSettings
from sampoll.core.errors import ModelUnavailable, SampollError, UsageError
from sampoll.core.protocols import Segmenter
from sampoll.models.checkpoints import Checkpoint

Factory: TypeAlias = Callable[[ModelSettings], Segmenter[Any]]
"""Makes a segmenter that is ready to work, which may take long. Whatever else a family of models knows of
itself, its factory may say in attributes; who asks for one does without it where there is none:

checkpoint    its official Checkpoint; for `models list|pull|verify|path` and doctor
reply_type    what replies over Redis call the type of the model; its name, if nothing else
original      (options) -> the authors' own model, on the device; for `models compare`
quantize      (options, images, read) -> the directory of its encoder in int8; for `models quantize`
"""


def official_checkpoints() -> dict[str, Checkpoint]:
    """The official checkpoints of all families, by their models, the smallest first."""
    found = {
        name: checkpoint
        for name, factory in load_all(SEGMENTERS)
        if isinstance(checkpoint := getattr(factory, "checkpoint", None), Checkpoint)
    }
    return dict(sorted(found.items(), key=lambda entry: entry[1].size))


def official_checkpoint(model: str) -> Checkpoint:
    """The official checkpoint of a model; UsageError if it has none."""
    known = official_checkpoints()
    if model not in known:
        raise UsageError(f"no official checkpoint for {model!r}: there are {', '.join(known)}")
    return known[model]


def models_that(attribute: str) -> list[str]:
    """The names of the models whose factories have an attribute."""
    return [name for name, factory in load_all(SEGMENTERS) if hasattr(factory, attribute)]


def find_factory(options: ModelSettings) -> Factory:
    """The factory that `options.model` names; ModelUnavailable says what to change."""
    if ":" in options.model:
        return _imported(options.model)
    known = plugins(SEGMENTERS)
    if options.model not in known:
        names = ", ".join(known)
        raise ModelUnavailable(f"no {options.model!r} among models: {names}, or package.module:factory")
    try:
        factory: Factory = load(known[options.model])
    except PluginBroken as error:
        raise ModelUnavailable(f"--model {error}") from error
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
