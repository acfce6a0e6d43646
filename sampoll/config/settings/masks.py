"""The settings of the section [masks]."""

from typing import Annotated

from pydantic import Field, FiniteFloat, ValidationInfo, field_validator

from sampoll.config.settings.section import Section, setting


class MaskSettings(Section):
    """What is done to masks and outlines before they are written."""

    simplify_pixels: Annotated[FiniteFloat, Field(ge=0)] = setting(
        0.0,
        "simplify",
        "Simplify outlines: omit points at most this far from the remaining line; masks stay exact.",
        metavar="PIXELS",
    )
    fill_holes_area: Annotated[int, Field(ge=0)] = setting(
        0, "fill-holes", "Fill holes of fewer pixels than this.", metavar="AREA"
    )
    remove_islands_area: Annotated[int, Field(ge=0)] = setting(
        0,
        "remove-islands",
        "Drop detached parts of fewer pixels than this; the largest part of a mask stays.",
        metavar="AREA",
    )
    min_object_size: Annotated[int, Field(ge=0)] = setting(
        0, "min-object-size", "Drop objects whose width or height is smaller.", metavar="PIXELS"
    )
    max_object_size: Annotated[int, Field(ge=1)] | None = setting(
        None, "max-object-size", "Drop objects whose width or height is larger.", metavar="PIXELS"
    )
    largest_only: bool = setting(False, "largest-only", "Keep the largest object of each mask only.")

    @field_validator("max_object_size")
    @classmethod
    def _leaves_some(cls, most: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("min_object_size", 0)
        if most is not None and most < least:
            raise ValueError(f"must not be less than min-object-size, which is {least}")
        return most
