"""A picture for people: the image with its masks, prompts and scores: overlay/NAME.jpg."""

import colorsys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sampoll.core.jobs import Prompt, RgbImage
from sampoll.core.names import printable
from sampoll.core.results import Artifact, Mask, Segmentation
from sampoll.formats.options import FormatOptions
from sampoll.inputs.decode import decode_image

MAX_SIDE = 1024
JPEG_QUALITY = 85
MASK_SHARE = 0.45
"""How much of a mask's colour there is over its pixels."""
FIRST_HUE = 0.55
"""Blue: points are red and green."""
GOLDEN_RATIO = 0.618034
"""Step between hues on the colour circle: however many hues there are, they stay far apart."""
MAX_CAPTIONS = 40
MAX_CAPTION_CHARACTERS = 40
UNLIMITED_PIXELS = 2**62
"""An image that was segmented is not too large to be shown."""

POINT_RADIUS, FRAME_WIDTH = 5, 2
OUTSIDE_PIXELS = POINT_RADIUS + FRAME_WIDTH + 1
"""What is so far outside the picture does not show, and is drawn no farther away."""

PLAIN = 72
"""The gray behind masks without their image."""

FOREGROUND, BACKGROUND, FRAME = (64, 220, 96), (240, 64, 64), (255, 255, 255)


def build(options: FormatOptions) -> "Overlay":
    return Overlay()


class Overlay:
    """A JPEG of at most 1024 pixels a side. Points on the object are green, beside it red; boxes white. A
    segmentation without the content of its image is drawn over plain gray."""

    needs_image = True
    thumbnails: ClassVar[Mapping[str, int]] = {"overlay/.jpg": 0}

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        return ["overlay/.jpg"]

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        scale = min(1.0, MAX_SIDE / max(segmentation.size))
        pixels = _scaled_image(segmentation, scale)
        numbered = list(segmentation.numbered_masks())
        for number, _, mask in numbered:
            _tint(pixels, mask, scale, colour_of(number))
        drawn = Image.fromarray(pixels)
        draw = ImageDraw.Draw(drawn)
        for prompt in segmentation.prompts:
            _draw_prompt(draw, prompt, scale)
        for number, prompt, mask in numbered[:MAX_CAPTIONS]:
            _draw_caption(draw, prompt, mask, scale, colour_of(number))
        return [Artifact("overlay/.jpg", _jpeg_of(np.asarray(drawn)))]


def small_picture(image: RgbImage) -> bytes:
    """A JPEG of an image alone, of the size of an overlay."""
    return _jpeg_of(_scaled(image, min(1.0, MAX_SIDE / max(image.shape[:2]))))


def colour_of(number: int) -> tuple[int, int, int]:
    """Red, green and blue of the mask with this number."""
    red, green, blue = colorsys.hsv_to_rgb((FIRST_HUE + number * GOLDEN_RATIO) % 1, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _jpeg_of(pixels: RgbImage) -> bytes:
    _, content = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return content.tobytes()


def _scaled_image(segmentation: Segmentation, scale: float) -> RgbImage:
    """The image of a segmentation; plain gray, of its size, if its content is not there."""
    if segmentation.pixels is not None:
        return _scaled(segmentation.pixels, scale)
    if not segmentation.image:
        return np.full((*_scaled_size(segmentation.size, scale), 3), PLAIN, np.uint8)
    image = decode_image(segmentation.image, segmentation.image_file, UNLIMITED_PIXELS, segmentation.exif)
    return _scaled(image, scale)


def _scaled_size(size: tuple[int, ...], scale: float) -> tuple[int, int]:
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


def _scaled(image: RgbImage, scale: float) -> RgbImage:
    if scale == 1:
        return image.copy()
    height, width = _scaled_size(image.shape[:2], scale)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _tint(pixels: RgbImage, mask: Mask, scale: float, colour: tuple[int, int, int]) -> None:
    """Colours the mask's part of a scaled image, in place, its edge fully."""
    if mask.box is None:
        return
    box = mask.box
    height, width = pixels.shape[:2]
    left, top = min(width - 1, int(box.left * scale)), min(height - 1, int(box.top * scale))
    right = min(width, max(left + 1, round((box.right + 1) * scale)))
    bottom = min(height, max(top + 1, round((box.bottom + 1) * scale)))
    cover = mask.pixels_in(box).view(np.uint8) * np.uint8(255)
    cover = cv2.resize(cover, (right - left, bottom - top), interpolation=cv2.INTER_AREA).astype(np.uint8)
    inside = cv2.erode(cover, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    share = (np.where(inside > 127, MASK_SHARE, 1.0) * cover / 255)[:, :, None]
    part = pixels[top:bottom, left:right]
    part[:] = np.rint(part * (1 - share) + np.array(colour) * share).astype(np.uint8)


def _draw_prompt(draw: ImageDraw.ImageDraw, prompt: Prompt, scale: float) -> None:
    if prompt.box is not None:
        box = prompt.box
        corners = [*_clipped(draw, box.x0 * scale, box.y0 * scale)]
        corners += _clipped(draw, box.x1 * scale, box.y1 * scale)
        draw.rectangle(corners, outline=FRAME, width=FRAME_WIDTH)
    for point in prompt.points:
        x, y = _clipped(draw, point.x * scale, point.y * scale)
        fill = FOREGROUND if point.label == 1 else BACKGROUND
        around = [x - POINT_RADIUS, y - POINT_RADIUS, x + POINT_RADIUS, y + POINT_RADIUS]
        draw.ellipse(around, fill=fill, outline=FRAME, width=1)


def _clipped(draw: ImageDraw.ImageDraw, x: float, y: float) -> tuple[float, float]:
    """The place, or the nearest one from which nothing shows: Pillow visits every pixel of a line, even those
    outside the picture."""
    width, height = draw.im.size
    return (
        min(max(x, -OUTSIDE_PIXELS), width - 1 + OUTSIDE_PIXELS),
        min(max(y, -OUTSIDE_PIXELS), height - 1 + OUTSIDE_PIXELS),
    )


def _draw_caption(
    draw: ImageDraw.ImageDraw, prompt: Prompt, mask: Mask, scale: float, colour: tuple[int, int, int]
) -> None:
    """The label and the score, above the mask where there is room."""
    if mask.box is None:
        return
    text = f"{printable(prompt.label)[:MAX_CAPTION_CHARACTERS]} {mask.score:.2f}"
    font = _font()
    _, _, width, height = draw.textbbox((0, 0), text, font=font)
    x = max(0.0, min(mask.box.left * scale, draw.im.size[0] - width - 6))
    y = max(0.0, mask.box.top * scale - height - 4)
    draw.rectangle([x, y, x + width + 6, y + height + 4], fill=colour)
    draw.text((x + 3, y + 1), text, fill=(0, 0, 0), font=font)


@lru_cache(1)
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(14)
