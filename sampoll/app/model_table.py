"""`sampoll models list`: every model that --model can name, and what it takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampoll.config.plugins import SEGMENTERS, load_all
from sampoll.core.jobs import PROMPT_KINDS
from sampoll.models.checkpoints import Checkpoint, kept_at
from sampoll.models.registry import Factory, attribute_of, prompts_of

HEADER = ("model", "family", "file MB", "embedding MB", "prompts", "licence", "weights")


@dataclass(frozen=True)
class ListedModel:
    """A model, its official checkpoint and the place of that, if it has one."""

    name: str
    family: str
    embedding_bytes: int | None
    prompts: Sequence[str]
    checkpoint: Checkpoint | None
    path: Path | None
    licence: str | None = None
    needs_checkpoint: bool = False
    """Whether its weights come with --checkpoint only."""

    @property
    def is_here(self) -> bool:
        return self.path is not None and self.path.is_file()

    def row(self) -> tuple[str, ...]:
        """For people, below HEADER."""
        checkpoint, embedding = self.checkpoint, self.embedding_bytes
        return (
            self.name,
            self.family,
            "-" if checkpoint is None else checkpoint.megabytes,
            "-" if embedding is None else f"{embedding / 1e6:.1f}",
            _in_short(self.prompts),
            self.licence or "-",
            self._weights,
        )

    @property
    def _weights(self) -> str:
        if self.needs_checkpoint:
            return "--checkpoint"
        if self.checkpoint is None:
            return "none needed"
        return "here" if self.is_here else "not here"

    def document(self) -> dict[str, Any]:
        """For programs."""
        checkpoint = self.checkpoint
        file = checkpoint and {
            "path": str(self.path),
            "is_here": self.is_here,
            "url": checkpoint.url,
            "bytes": checkpoint.size,
            "sha256": checkpoint.sha256,
            "licence": checkpoint.licence,
        }
        return {
            "model": self.name,
            "family": self.family,
            "embedding_bytes": self.embedding_bytes,
            "prompts": list(self.prompts),
            "licence": self.licence,
            "checkpoint": file,
        }


def _in_short(prompts: Sequence[str]) -> str:
    left_out = [kind for kind in PROMPT_KINDS if kind not in prompts]
    if len(left_out) > 1:
        return ", ".join(prompts)
    return f"all but {left_out[0]}" if left_out else "all"


def listed_models(home: Path | None) -> Sequence[ListedModel]:
    """All models that are installed, by family, the smallest first. torch is not imported."""
    found = [_listed(name, factory, home) for name, factory in load_all(SEGMENTERS)]
    return sorted(found, key=lambda model: (model.family, _size_of(model.checkpoint), model.name))


def _size_of(checkpoint: Checkpoint | None) -> float:
    """For sorting; a file without a known size comes last."""
    if checkpoint is None or checkpoint.size is None:
        return math.inf
    return checkpoint.size


def _listed(name: str, factory: Factory, home: Path | None) -> ListedModel:
    checkpoint = attribute_of(factory, "checkpoint")
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = None
    return ListedModel(
        name,
        str(attribute_of(factory, "family") or name),
        attribute_of(factory, "embedding_bytes"),
        prompts_of(factory),
        checkpoint,
        checkpoint and kept_at(checkpoint, home),
        attribute_of(factory, "licence") if checkpoint is None else checkpoint.licence,
        bool(attribute_of(factory, "needs_checkpoint")),
    )
