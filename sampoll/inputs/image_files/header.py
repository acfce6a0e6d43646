"""The header of an image file, and the error of a file that is not to be decoded."""

from dataclasses import dataclass


class BadStructure(ValueError):
    """The file is damaged, or decoding it would cost far more than an image of its size usually does."""


BYTES_PER_ROW = 16
"""Pillow keeps a pointer to each row, and rounds its length up."""


@dataclass(frozen=True, slots=True)
class Header:
    """Width and height in pixels as stored, and the memory that `decode_image` takes for each pixel at most,
    the finished ones included."""

    width: int
    height: int
    bytes_per_pixel: int

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def decoding_bytes(self) -> int:
        return self.pixels * self.bytes_per_pixel + self.height * BYTES_PER_ROW
