"""What a format is made with."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FormatOptions:
    """`simplify_pixels` is how far outlines may be from the exact ones; `settings` are those that masks
    depend on, by name, to be told by records."""

    simplify_pixels: float = 0.0
    settings: Mapping[str, object] = field(default_factory=dict)
