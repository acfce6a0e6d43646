"""BMP: pixels whose channels are told by masks, of which Pillow knows only a few.

https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapv4header
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampoll.core.jobs import RgbImage
from sampoll.inputs.image_files import bmp
from sampoll.inputs.image_files.header import BadStructure
from sampoll.inputs.image_files.rgb import in_8_bits, rows_of_band

_FIELDS = struct.Struct("<10xI8xi2xH24xIII")
"""Where the pixels begin, the height, the bits of a pixel, and the masks of red, green and blue."""


def decode(content: bytes) -> RgbImage:
    """The pixels in RGB."""
    header = bmp.header_of(content)
    try:
        begin, height, bits, *masks = _FIELDS.unpack_from(content)
    except struct.error as error:
        raise BadStructure("is truncated") from error
    stride = -(-header.width * bits // 32) * 4
    if begin + stride * header.height > len(content):
        raise BadStructure("is truncated")
    lines = np.frombuffer(content, np.uint8, stride * header.height, begin).reshape(-1, stride)
    if height > 0:  # from bottom to top
        lines = lines[::-1]
    rgb = np.empty((header.height, header.width, 3), np.uint8)
    rows = rows_of_band(header.width)
    for top in range(0, header.height, rows):
        band = np.ascontiguousarray(lines[top : top + rows]).view(f"<u{bits // 8}")[:, : header.width]
        for channel, mask in enumerate(masks):
            rgb[top : top + rows, :, channel] = _channel(band, mask)
    return rgb


def _channel(pixels: NDArray[np.unsignedinteger[Any]], mask: int) -> NDArray[np.uint8]:
    shift = (mask & -mask).bit_length() - 1
    width = mask.bit_length() - shift
    if not mask or mask >> shift != 2**width - 1 or mask.bit_length() > 8 * pixels.itemsize:
        raise BadStructure(f"is damaged: {mask:#x} is no mask of a channel")
    return in_8_bits((pixels & mask) >> shift, width)
