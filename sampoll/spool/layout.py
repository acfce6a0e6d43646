"""Where everything lies in a spool."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sampoll.core.filenames import FAILED, PAIR_SUFFIXES, PRIVATE

STATE = ".state.jsonl"
"""Hidden, so that it never collides with a claimed file: hidden files are not claimed."""


@dataclass(frozen=True)
class InputLayout:
    """The directories of one input."""

    input: Path

    @cached_property
    def nodes(self) -> Path:
        return self.input / PRIVATE / "nodes"

    @cached_property
    def work(self) -> Path:
        return self.input / PRIVATE / "work"

    @cached_property
    def deferred(self) -> Path:
        return self.input / PRIVATE / "deferred"

    @cached_property
    def failed(self) -> Path:
        return self.input / FAILED


@dataclass(frozen=True)
class Layout(InputLayout):
    """The directories of one input and one output. `done` is None where finished inputs are deleted.

    `recursive`: the folders below the input are part of it, and results lie in folders of the same names.
    Files whose suffix is not in `suffixes` (in lower case) are ignored. `deletes_images`: of a finished pair,
    only the prompt is moved to `done`; `overwrites_done`: files of the same name in `done` are replaced.
    """

    output: Path
    done: Path | None
    recursive: bool = False
    suffixes: frozenset[str] = PAIR_SUFFIXES
    deletes_images: bool = False
    overwrites_done: bool = False

    @cached_property
    def stage(self) -> Path:
        return self.output / PRIVATE / "stage"

    @cached_property
    def names(self) -> Path:
        return self.output / PRIVATE / "names"
