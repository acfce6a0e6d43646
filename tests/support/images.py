"""Small images and masks."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sampoll.core.jobs import RgbImage
from sampoll.core.results import BoolMask


def image_of(height: int = 24, width: int = 32, seed: int = 0) -> RgbImage:
    """A noisy image of shape (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def blank_image(height: int, width: int) -> RgbImage:
    """A gray image, of which even a large one is a small file."""
    return np.full((height, width, 3), 128, np.uint8)


def encoded(image: NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def turned_image(height: int = 24, width: int = 32) -> bytes:
    """A JPEG that is stored in this size, and upright once it is turned by 90 degrees, as its EXIF says."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image_of(height, width), "JPEG", exif=exif)


def iou(a: BoolMask, b: BoolMask) -> float:
    return float((a & b).sum() / (a | b).sum())


def read_mask(path: Path) -> BoolMask:
    """A mask PNG as another library reads it."""
    with Image.open(path) as image:
        assert image.mode == "1"
        return np.asarray(image)
