"""Models by name: those of sampoll, those of other packages, and a user's own factory."""

import logging
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from sampoll.config.plugins import SEGMENTERS, PluginBroken, load, load_all, plugins
from sampoll.config.settings.model import ModelSettings
from sampoll.core.errors import ModelUnavailable, SampollError, UsageError
from sampoll.core.jobs import PLACED_KINDS
from sampoll.core.protocols import Segmenter
from sampoll.core.suggestions import did_you_mean
from sampoll.files.cores import usable_cores
from sampoll.models.checkpoints import named_checkpoint
from sampoll.models.shared.detection import detected_model
from sampoll.models.shared.tensor_shapes import read_shapes
from sampoll.models.shared.threads import limit_threads

log = logging.getLogger(__name__)

AUTO, DEFAULT_MODEL = "auto", "vit_b"

Factory: TypeAlias = Callable[[ModelSettings], Segmenter[Any]]
"""Makes a segmenter that is ready to work, which may take long. A factory that is no class (the attributes of
a class are those of its segmenters) may have these attributes:

checkpoint    its official Checkpoint; for `models list|pull|verify|path` and doctor
family        the models of the same architecture, in one word; for `models list`
embedding_bytes  what the embedding of an image takes in memory; for `models list`
holds         (shapes of tensors by name) -> whether they are this model's; for `--model auto`
reply_type    what replies over Redis call the type of the model; its name, if nothing else
prompts       those of core.jobs.PROMPT_KINDS that it takes; PLACED_KINDS, if it has no such attribute
licence       that of the weights, if there is no `checkpoint` to say it; for `models list`
needs_checkpoint  whether it has weights of its own that nothing here fetches; for `models list`
original      (options) -> the fidelity.ComparableSegmenter with which its variants are compared, in float32:
              the authors' own model, if there is a package of it; for `models compare`
quantize      (options, images, read) -> the directory of its encoder in int8; for `models quantize`
"""


def attribute_of(factory: Factory, attribute: str) -> Any:
    """One of the attributes that a factory may have; None if it has not."""
    return None if isinstance(factory, type) else getattr(factory, attribute, None)


def prompts_of(factory: Factory) -> Sequence[str]:
    """The kinds of prompts that the segmenter of a factory takes."""
    return tuple(attribute_of(factory, "prompts") or PLACED_KINDS)


def prompts_taken(options: ModelSettings) -> Sequence[str]:
    """The kinds of prompts that the model of the options takes, with its detector if it has one. UsageError
    if the two cannot be used together."""
    kinds = prompts_of(find_factory(options))
    if options.detector is None:
        return kinds
    if "text" in kinds:
        raise UsageError(f"--model {options.model} takes words itself: leave --detector out")
    if "box" not in kinds:
        raise UsageError(f"--detector needs a model that takes boxes: --model {options.model} takes none")
    return (*kinds, "text")


@cache
def models_that_take(kind: str) -> Sequence[str]:
    """The names of the installed models that take this kind of prompts."""
    return tuple(name for name, factory in load_all(SEGMENTERS) if kind in prompts_of(factory))


def attribute_of_model(options: ModelSettings, attribute: str) -> Any:
    """The attribute of the factory that `options.model` names; UsageError, which names the models that have
    it, if it has not."""
    known = {name: attribute_of(factory, attribute) for name, factory in load_all(SEGMENTERS)}
    own = ":" in options.model
    found = attribute_of(_imported(options.model), attribute) if own else known.get(options.model)
    if found is None:
        having = [name for name, value in known.items() if value is not None]
        raise UsageError(
            f"--model {options.model} is none of {', '.join(having)}{did_you_mean(options.model, having)}"
        )
    return found


def with_model_named(options: ModelSettings) -> ModelSettings:
    """The options with a model in the place of `auto`: the one that the checkpoint holds, or the default one
    if none is given. ModelUnavailable if the checkpoint holds no model that is known."""
    if options.model != AUTO:
        return options
    name = DEFAULT_MODEL
    if options.checkpoint is not None:
        path = named_checkpoint(options.checkpoint)
        name = detected_model(path, read_shapes(path))
        log.info("%s holds %s", path, name, extra={"event": "detected", "model": name})
    return options.model_copy(update={"model": name})


def find_factory(options: ModelSettings) -> Factory:
    """The factory that `options.model` names; ModelUnavailable says what to change."""
    options = with_model_named(options)
    if ":" in options.model:
        return _imported(options.model)
    known = plugins(SEGMENTERS)
    if options.model not in known:
        raise ModelUnavailable(
            f"no {options.model!r} among models: {AUTO}, {', '.join(known)}, or package.module:factory"
            f"{did_you_mean(options.model, [AUTO, *known], prefix='sam_')}"
        )
    try:
        factory: Factory = load(known[options.model])
    except PluginBroken as error:
        raise ModelUnavailable(f"--model {error}") from error
    return factory


def load_segmenter(options: ModelSettings, factory: Factory) -> "Segmenter[Any]":
    """The segmenter that `factory` makes; ModelUnavailable if it cannot."""
    try:
        segmenter = factory(options)
    except SampollError:
        raise
    except Exception as error:
        raise ModelUnavailable(
            f"--model {options.model} could not be loaded: {type(error).__name__}: {error}"
        ) from error
    limit_threads(usable_cores())
    return segmenter


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
