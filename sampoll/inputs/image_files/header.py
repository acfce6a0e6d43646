"""The header of an image file, and the error of a file that is not to be decoded."""

from dataclasses import dataclass

from sampoll.core.jobs import Exif
from sampoll.inputs.image_files.exif import TRANSPOSED, UPRIGHT


class BadStructure(ValueError):
    """The file is damaged, of a kind that is not decoded here, or decoding it would cost far more than an
    image of its size usually does."""


BYTES_PER_ROW = 16
"""Pillow keeps a pointer to each row, and rounds its length up."""


@dataclass(frozen=True, slots=True)
class Header:
    """Width and height in pixels as stored, the memory that `decode_image` takes for each pixel at most, the
    finished ones included, the orientation, 1 to 8, as EXIF defines it, and of a JPEG the number of channels.
    """

    width: int
    height: int
    bytes_per_pixel: int
    orientation: int = UPRIGHT
    channels: int = 0

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def decoding_bytes(self) -> int:
        return self.pixels * self.bytes_per_pixel + self.height * BYTES_PER_ROW

    def turning(self, exif: Exif) -> int:
        """The orientation that is to be applied."""
        return self.orientation if exif == "apply" else UPRIGHT

    def size(self, exif: Exif) -> tuple[int, int]:
        """The (H, W) of the decoded image."""
        is_transposed = self.turning(exif) in TRANSPOSED
        return (self.width, self.height) if is_transposed else (self.height, self.width)
