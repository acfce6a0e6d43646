"""The settings of the section [outputs]."""

from sampoll.config.plugins import DATASETS, FORMATS
from sampoll.config.settings.section import Section, setting
from sampoll.config.settings.values import Names


class OutputSettings(Section):
    """Which files are written beside the records."""

    formats: Names = setting(
        ("png",),
        "format",
        "Format to write besides OPEX: {names}. May be repeated. Any replaces png: name png too to keep it.",
        metavar="NAME",
        named_by=(FORMATS, DATASETS),
        is_everyday=True,
    )
    overlay: bool = setting(
        False,
        "overlay",
        "Write a small picture of each image with its masks, prompts and scores to overlay/.",
        is_everyday=True,
    )
    coco_polygons: bool = setting(
        False, "coco-polygons", "COCO: outlines without holes instead of exact run-length encodings."
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the formats, including the overlay."""
        return tuple(dict.fromkeys((*self.formats, "overlay"))) if self.overlay else self.formats
