"""What a format is made with."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FormatOptions:
    """`simplify_pixels` is how far outlines may be from the exact ones. `settings` are those that masks
    depend on, by name, for records to tell. `kept_images` is where finished images are kept, relative to the
    output, None if they are not. `polygons` are wanted where exact masks are the default."""

    simplify_pixels: float = 0.0
    settings: Mapping[str, object] = field(default_factory=dict)
    kept_images: str | None = None
    polygons: bool = False
