"""Where everything lies in a spool."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sampoll.core.filenames import FAILED, PAIR_SUFFIXES, PRIVATE
from sampoll.files.files import ensure_below, ensure_directory

STATE = ".state.jsonl"
REPORT = ".error.json"
"""In the directory of a job: its state, and the report on its way to failed/. Hidden, so that they never
collide with a claimed file: those that are hidden, of an old poller, have other suffixes."""


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
    `takes_links_and_hidden`: links to files, and names that begin with a dot or ~, are files like any other;
    only the links themselves are moved or deleted.
    """

    output: Path
    done: Path | None
    recursive: bool = False
    suffixes: frozenset[str] = PAIR_SUFFIXES
    deletes_images: bool = False
    overwrites_done: bool = False
    takes_links_and_hidden: bool = False

    def ensure_kept(self, directory: Path) -> None:
        """Creates a directory for inputs that have ended if it is missing. Inside the input, where other
        people may write, no link is followed."""
        if directory.is_relative_to(self.input):
            ensure_below(self.input, directory)
        else:
            ensure_directory(directory)

    @cached_property
    def stage(self) -> Path:
        return self.output / PRIVATE / "stage"

    @cached_property
    def names(self) -> Path:
        return self.output / PRIVATE / "names"
