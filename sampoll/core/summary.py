"""What a command has done, when it ends."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommandSummary:
    """A line for people, and its figures by name for programs; durations are in seconds."""

    line: str
    figures: Mapping[str, float]

    def __str__(self) -> str:
        return self.line
