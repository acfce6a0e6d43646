"""The rules of images and masks over arrays of numpy: what `padded_square` and `sam2_rules` compute with
torch, up to rounding. Importing torch alone takes longer than many runs."""

import math
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sampoll.core.jobs import RgbImage
from sampoll.models.shared.mask_choice import Floats
from sampoll.models.shared.square_geometry import PaddedGeometry, ResizedGeometry


class NumpyRules(Protocol):
    """As `network.ImageRules`, over arrays."""

    @property
    def img_size(self) -> int: ...

    def prepared(self, image: RgbImage) -> Floats:
        """What the encoder gets, (3, S, S), normalised."""

    def places(self, points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        """Points (T, 2) in image pixels, in pixels of the prepared image."""

    def full_size(self, logits: Floats, size: tuple[int, int]) -> Floats:
        """Low-res logits (K, h, w) at the size of the image: (K, H, W)."""

    def mask_input(self, logits: Floats, size: tuple[int, int]) -> Floats:
        """A mask prompt, LowResLogits (256, 256), as the decoder takes it: (h, w)."""

    def refined(self, logits: Floats) -> Floats:
        """Low-res logits of an answer as the decoder takes them as the next mask prompt."""


@dataclass(frozen=True)
class NumpyPaddedSquare(PaddedGeometry):
    """NumpyRules of SAM, and of families that keep them."""

    def prepared(self, image: RgbImage) -> Floats:
        """Resized by Pillow, as SamPredictor does it, in every precision."""
        height, width = self.resized_size((image.shape[0], image.shape[1]))
        resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        square = np.zeros((3, self.img_size, self.img_size), np.float32)
        square[:, :height, :width] = _normalised(resized.transpose(2, 0, 1), self.MEAN, self.STD)
        return square

    def full_size(self, logits: Floats, size: tuple[int, int]) -> Floats:
        height, width = self.resized_size(size)
        square = (self.img_size, self.img_size)
        return np.stack([_enlarged(_enlarged(one, square)[:height, :width], size) for one in logits])

    def mask_input(self, logits: Floats, size: tuple[int, int]) -> Floats:
        return logits if logits.shape == self.mask_input_size else _resized(logits, self.mask_input_size)

    def refined(self, logits: Floats) -> Floats:
        return logits


@dataclass(frozen=True)
class NumpyResizedSquare(ResizedGeometry):
    """NumpyRules of SAM 2."""

    def prepared(self, image: RgbImage) -> Floats:
        square = (self.img_size, self.img_size)
        planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / np.float32(255)
        return _normalised(np.stack([_resized(plane, square) for plane in planes]), self.MEAN, self.STD)

    def full_size(self, logits: Floats, size: tuple[int, int]) -> Floats:
        return np.stack([_enlarged(one, size) for one in logits])

    def mask_input(self, logits: Floats, size: tuple[int, int]) -> Floats:
        rows, columns = self.seen_part((logits.shape[0], logits.shape[1]), size)
        seen = logits[: math.ceil(rows), : math.ceil(columns)]
        by_rows = _between_rows(seen, self._places_in(rows))
        return np.ascontiguousarray(_between_rows(by_rows.T, self._places_in(columns)).T)

    def refined(self, logits: Floats) -> Floats:
        return logits.clip(-self.MAX_LOGIT, self.MAX_LOGIT)

    def _places_in(self, part: float) -> NDArray[np.float32]:
        """Where the rows of the decoder's mask are among the first `part` rows of another one."""
        centres = (np.arange(self.mask_side, dtype=np.float32) + np.float32(0.5)) / np.float32(self.mask_side)
        places: NDArray[np.float32] = centres * np.float32(part) - np.float32(0.5)
        return places


def _normalised(planes: NDArray[np.generic], mean: tuple[float, ...], std: tuple[float, ...]) -> Floats:
    """Planes (3, h, w) in float32, with this mean and deviation taken out of each."""
    shift, scale = (np.array(each, np.float32)[:, None, None] for each in (mean, std))
    normalised = planes.astype(np.float32)
    normalised -= shift
    normalised /= scale
    return normalised


def _enlarged(plane: Floats, size: tuple[int, int]) -> Floats:
    """Interpolated between the four nearest values, also where it becomes smaller: (h, w) to `size`."""
    return np.asarray(cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _resized(plane: Floats, size: tuple[int, int]) -> Floats:
    """Interpolated, and averaged where it becomes smaller: (h, w) to `size`."""
    return np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR))


def _between_rows(plane: Floats, places: NDArray[np.float32]) -> Floats:
    """Rows at fractional `places`, interpolated; those beyond an edge are the row at the edge."""
    inside = places.clip(0, len(plane) - 1)
    above = np.floor(inside).astype(np.int64)
    below = np.minimum(above + 1, len(plane) - 1)
    share = (inside - above).astype(np.float32)[:, None]
    between: Floats = plane[above] * (1 - share) + plane[below] * share
    return between
