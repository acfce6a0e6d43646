"""JPEG: its pixels.

Its first picture only: the others in a phone's file are previews and depth maps.
"""

import io
import re

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from sampoll.core.jobs import RgbImage
from sampoll.inputs.image_files import jpeg
from sampoll.inputs.image_files.header import BadStructure, Header
from sampoll.inputs.image_files.rgb import rgb_of

_DAMAGE = re.compile(r"(?i)premature end|bad (?:huffman|arithmetic) code|found marker|(\d+) extraneous bytes")
"""What libjpeg says about image data that it had to make up. Its other warnings do not concern the pixels."""
SPARE_BYTES = 1024
"""Some cameras fill up image data with a few bytes that nothing needs; more than this is a damaged image."""
_CMYK = 4


def decode(header: Header, content: bytes) -> RgbImage:
    """The pixels of a JPEG as they are stored; BadStructure if it is damaged."""
    has_inks = header.channels == _CMYK
    pixels = _decoded(content, "CMYK" if has_inks else "RGB")
    if pixels is None:
        with Image.open(io.BytesIO(jpeg.without_metadata(content)), formats=("JPEG",)) as image:
            return rgb_of(image)
    if not has_inks:
        return pixels
    height, width, _ = pixels.shape
    # Stored as Adobe does, inverted.
    return rgb_of(
        Image.frombuffer("CMYK", (width, height), np.invert(pixels, out=pixels), "raw", "CMYK", 0, 1)
    )


def _decoded(content: bytes, colours: str) -> NDArray[np.uint8] | None:
    """The pixels of a JPEG that is in order; None if Pillow has to decide; BadStructure if it is damaged."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, colours)
    except ValueError as error:
        damage = _DAMAGE.search(str(error))
        if damage and int(damage[1] or SPARE_BYTES + 1) > SPARE_BYTES:
            raise BadStructure(f"is truncated, or damaged: {error}") from error
        return None
    return pixels
