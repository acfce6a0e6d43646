"""The pixels of image files as they are stored: in RGB, without alpha, 8 bits of each channel."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sampoll.core.jobs import RgbImage
from sampoll.inputs.image_files import bmp, bmp_pixels, jpeg, jpeg_pixels, png, tiff, tiff_pixels
from sampoll.inputs.image_files.header import BadStructure, Header
from sampoll.inputs.image_files.rgb import rgb_of

_FORMATS = ("PNG", "WEBP", "BMP")
"""Pillow's others are refused: EPS, for example, would run Ghostscript."""
# Pillow's limit for the whole process; --max-pixels is checked for each image instead.
Image.MAX_IMAGE_PIXELS = None


def stored_pixels(header: Header, content: bytes) -> RgbImage:
    """The pixels of a file whose structure was checked; BadStructure if they do not fit its header. Decoders
    may raise anything else."""
    if content.startswith(tiff.SIGNATURES):
        pixels = tiff_pixels.decode(content)
    elif content.startswith(jpeg.SIGNATURE):
        pixels = jpeg_pixels.decode(header, content)
    elif content.startswith(bmp.SIGNATURE) and bmp.has_masks(content):
        pixels = bmp_pixels.decode(content)
    else:
        pixels = _decoded_by_pillow(header, content)
    height, width, _ = pixels.shape
    if (width, height) != (header.width, header.height):
        raise BadStructure(f"is damaged: it is {width}x{height}, or {header.width}x{header.height}")
    return pixels


def _decoded_by_pillow(header: Header, content: bytes) -> RgbImage:
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        width, height = image.size
        if width * height > header.pixels:
            raise BadStructure(f"is damaged: it is {width}x{height}, or {header.width}x{header.height}")
        pages = getattr(image, "n_frames", 1)
        if pages > 1:
            raise BadStructure(f"has {pages} pages: save each as an image of its own")
        rgb = rgb_of(image)
        # The usual image ends in another line, or is no PNG: this costs nothing then.
        may_be_cut = image.format == "PNG" and (image.info.get("interlace") or not _last_line(image).any())
        if may_be_cut and not png.has_all_pixels(content):
            raise BadStructure("is truncated")
        return rgb


def _last_line(image: Image.Image) -> NDArray[Any]:
    width, height = image.size
    return np.asarray(image.crop((0, height - 1, width, height)))
