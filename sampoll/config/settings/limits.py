"""The settings of the section [limits]."""

from typing import Annotated

from pydantic import Field

from sampoll.config.settings.section import Section, setting
from sampoll.config.settings.values import PositiveByteCount

MASK_BYTES = 512 * 2**20
"""What the masks of a batch may take in memory."""


class LimitSettings(Section):
    """What a pair may cost before it is refused."""

    max_pixels: Annotated[int, Field(ge=1)] = setting(
        150_000_000, "max-pixels", "Refuse larger images.", metavar="N"
    )
    max_image_bytes: PositiveByteCount = setting(
        512 * 2**20, "max-image-bytes", "Refuse larger image files.", metavar="BYTES"
    )
    max_prompt_bytes: PositiveByteCount = setting(
        16 * 2**20, "max-prompt-bytes", "Refuse larger prompt files.", metavar="BYTES"
    )
    max_prompts: Annotated[int, Field(ge=1)] = setting(
        10_000, "max-prompts", "Refuse prompt files with more prompts.", metavar="N"
    )
    max_points: Annotated[int, Field(ge=1)] = setting(
        100_000, "max-points", "Refuse prompt files with more points in all.", metavar="N"
    )
    max_points_per_prompt: Annotated[int, Field(ge=1)] = setting(
        1000, "max-points-per-prompt", "Refuse prompts with more points.", metavar="N"
    )
    max_mask_bytes: PositiveByteCount = setting(
        MASK_BYTES,
        "max-mask-bytes",
        "Refuse pairs whose masks take more memory, compressed.",
        metavar="BYTES",
    )
