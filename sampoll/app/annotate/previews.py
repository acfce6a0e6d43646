"""Images and masks as a page shows them: scaled down where the image is large."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import orjson
import simplejpeg

from sampoll.app.reply_formats import union_of
from sampoll.core.jobs import RgbImage
from sampoll.core.results import Artifact, BoolMask, Mask, PixelBox, Segmentation
from sampoll.formats.png_encoder import encode_grayscale

PREVIEW_SIDE = 2048
"""Pixels of the longer side of a preview, at most."""
EXACT_PIXELS = 256 * 1024
"""An image of so many pixels is shown without loss: people enlarge it until they see its pixels."""
QUALITY = 90
SHOWN_FROM = 64
"""Of 255: the share of a preview's pixel that must be on the object, so that thin parts are still seen."""


@dataclass(frozen=True)
class Preview:
    """A picture of an image; `size` is its (H, W), `kind` its media type."""

    kind: str
    content: bytes = field(repr=False)
    size: tuple[int, int]


def preview_size(size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the preview of an image of this (H, W)."""
    scale = min(1.0, PREVIEW_SIDE / max(size))
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


def preview_of(pixels: RgbImage) -> Preview:
    """The preview of an image that is decoded as for a run: upright, in 8 bits."""
    size = (pixels.shape[0], pixels.shape[1])
    height, width = preview_size(size)
    shown = pixels
    if (height, width) != size:
        shown = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    if math.prod(size) <= EXACT_PIXELS:
        _, png = cv2.imencode(".png", cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))
        return Preview("image/png", png.tobytes(), size)
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(shown), QUALITY, colorspace="RGB")
    return Preview("image/jpeg", jpeg, (height, width))


class PreviewMask:
    """A format for one answer: a PNG of all masks together, in the frame of the preview and cut to its
    object, and JSON with its place there, the number of masks, and the best score."""

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        return [".png", ".json"]

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        masks = [mask for masks in segmentation.masks for mask in masks]
        left, top, pixels = _shown(union_of(segmentation), preview_size(segmentation.size))
        png = encode_grayscale(np.packbits(pixels, axis=1), pixels.shape[1], bit_depth=1)
        place = {
            "left": left,
            "top": top,
            "masks": sum(mask.box is not None for mask in masks),
            "score": max((mask.score for mask in masks), default=0.0),
        }
        return [Artifact(".png", png), Artifact(".json", orjson.dumps(place))]


def _shown(mask: Mask, size: tuple[int, int]) -> tuple[int, int, BoolMask]:
    """The column and the row where a mask begins in a preview of this (H, W), and its pixels there; a single
    one, of the background, for an empty mask."""
    if mask.box is None:
        return 0, 0, np.zeros((1, 1), np.bool_)
    if mask.size == size:
        return mask.box.left, mask.box.top, mask.pixels_in(mask.box)
    rows, columns = (shown / whole for shown, whole in zip(size, mask.size, strict=True))
    left, right = _interval(mask.box.left, mask.box.right, columns, size[1])
    top, bottom = _interval(mask.box.top, mask.box.bottom, rows, size[0])
    # The part of the image that these pixels of the preview show.
    around = PixelBox(
        min(mask.box.left, math.floor(left / columns)),
        min(mask.box.top, math.floor(top / rows)),
        min(mask.size[1], math.ceil(right / columns)) - 1,
        min(mask.size[0], math.ceil(bottom / rows)) - 1,
    )
    part = mask.pixels_in(around).view(np.uint8) * np.uint8(255)
    scaled = cv2.resize(part, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    return left, top, np.asarray(scaled) >= SHOWN_FROM


def _interval(first: int, last: int, scale: float, length: int) -> tuple[int, int]:
    """The pixels of a preview that show these of the image: from the first, up to the second."""
    start = min(length - 1, math.floor(first * scale))
    return start, min(length, max(start + 1, math.ceil((last + 1) * scale)))
