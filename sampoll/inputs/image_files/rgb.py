"""Images of Pillow as arrays in RGB, and samples of any number of bits as those of 8."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sampoll.core.jobs import RgbImage

BAND_PIXELS = 2**20
"""Pixels that are converted together: a second copy of the whole image would cost more memory than time."""
_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")


def rows_of_band(width: int) -> int:
    return max(1, BAND_PIXELS // width)


def rgb_of(image: Image.Image) -> RgbImage:
    """The pixels of an image in RGB. Alpha is dropped, 16-bit values are reduced to their upper 8 bits."""
    image.load()
    width, height = image.size
    rgb = np.empty((height, width, 3), np.uint8)
    rows = rows_of_band(width)
    for top in range(0, height, rows):
        band = image if rows >= height else image.crop((0, top, width, min(height, top + rows)))
        rgb[top : top + rows] = _rgb_of_band(band)
    return rgb


def _rgb_of_band(band: Image.Image) -> Any:
    if band.mode in _SIXTEEN_BIT_MODES:
        # Pillow would clip these at 255 instead.
        return (np.asarray(band).astype(np.uint16) >> 8)[:, :, np.newaxis]
    return np.asarray(band if band.mode == "RGB" else band.convert("RGB"))


def in_8_bits(samples: NDArray[np.integer[Any]], bits: int) -> NDArray[np.uint8]:
    """The upper 8 bits of samples; if they have fewer, as much of 255 as they are of their largest number."""
    if bits > 8:
        samples = samples >> (bits - 8)
    elif bits < 8:
        samples = samples.astype(np.uint16) * 255 // (2**bits - 1)
    return samples.astype(np.uint8, copy=False)
