"""Which model a checkpoint holds: every factory is asked, so that a new family needs no line here."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sampoll.config.plugins import SEGMENTERS, load_all, load_some
from sampoll.core.errors import ModelUnavailable
from sampoll.core.names import printable
from sampoll.models.shared.file_header import Shapes

log = logging.getLogger(__name__)

SHOWN = 3
"""Names of tensors in a message, at most."""


def models_in(shapes: Shapes) -> Sequence[str]:
    """The models whose weights have these names and shapes, by the `holds` of their factories."""
    return _of_these(load_all(SEGMENTERS), shapes)


def detected_model(checkpoint: Path, shapes: Shapes) -> str:
    """The model that a checkpoint with these shapes holds; ModelUnavailable if none is known. Of several,
    which are then the same for images, the first by name."""
    for name in models_in(shapes):
        return name
    raise _unknown(checkpoint, shapes)


def check_model(name: str, checkpoint: Path, shapes: Shapes) -> None:
    """ModelUnavailable, with the right name if it is known, if a checkpoint with these shapes does not hold
    this model."""
    if _of_these(load_some(SEGMENTERS, [name]), shapes):  # of the right one, no other family is imported
        return
    found = models_in(shapes)
    if not found:
        raise _unknown(checkpoint, shapes)
    raise ModelUnavailable(f"{checkpoint} holds {found[0]}, not {name}: use --model {found[0]}")


def _unknown(checkpoint: Path, shapes: Shapes) -> ModelUnavailable:
    names = ", ".join(name for name, _ in _holders(load_all(SEGMENTERS)))
    return ModelUnavailable(f"{checkpoint} holds none of {names}: {_described(shapes)}")


def _of_these(factories: Iterable[tuple[str, Any]], shapes: Shapes) -> Sequence[str]:
    return [name for name, holds in _holders(factories) if _says_yes(name, holds, shapes)]


def _holders(factories: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, factory in factories:
        if not isinstance(factory, type) and (holds := getattr(factory, "holds", None)) is not None:
            yield name, holds


def _says_yes(name: str, holds: Any, shapes: Shapes) -> bool:
    try:
        return bool(holds(shapes))
    except Exception as error:  # noqa: BLE001  another package's own code may raise anything
        log.warning(
            "--model %s cannot say what a checkpoint holds: %s: %s", name, type(error).__name__, error
        )
        return False


def _described(shapes: Shapes) -> str:
    """What there is instead, in a few words."""
    if not shapes:
        return "it has no tensors"
    encoder = [f"{name} {shape}" for name, shape in shapes.items() if name.startswith("image_encoder.")]
    if encoder:
        return f"its image encoder has {listed(encoder)}"
    parts = dict.fromkeys(name.partition(".")[0] for name in shapes)
    return f"it has no image encoder (no tensor image_encoder.…), but {listed(list(parts))}"


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    shown = [printable(name) for name in names][:SHOWN]
    more = len(names) - len(shown)
    return f"{', '.join(shown)} and {more} more" if more else ", ".join(shown)
