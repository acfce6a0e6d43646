"""Which pairs of an input a run takes: --include and --exclude."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Selection:
    """Patterns for the paths of files below the input, in the rules of a shell: `*` is any part of a name and
    `**` any folders; a pattern without a slash applies in every folder, one with a slash at its end to all
    files in that folder and below it."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def takes(self, paths: Iterable[str]) -> bool:
        """Whether the files of one pair, or half pair, are taken. One that matches decides for all of them,
        so that what is excluded is no half pair."""
        if not self.include and not self.exclude:
            return True
        files = list(paths)
        if self.include and not any(map(self._included, files)):
            return False
        return not self.exclude or not any(map(self._excluded, files))

    @cached_property
    def _included(self) -> Any:
        return _matcher(self.include)

    @cached_property
    def _excluded(self) -> Any:
        return _matcher(self.exclude)


ALL_PAIRS = Selection()


def _matcher(patterns: Sequence[str]) -> Any:
    from wcmatch import glob  # here, because most runs have no patterns

    whole = [pattern + "**" if pattern.endswith("/") else pattern for pattern in patterns]
    return glob.compile(whole, flags=glob.GLOBSTAR | glob.MATCHBASE | glob.DOTGLOB | glob.FORCEUNIX).match
