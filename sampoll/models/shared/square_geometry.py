"""Where the pixels of an image are in the square that an encoder sees. A size is (H, W)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PaddedGeometry:
    """SAM's: the longer side is resized to the square's, at its top left, the rest is padded.
    `mask_input_size` are the rows and columns of the mask prompts that the decoder takes."""

    img_size: int = 1024
    mask_input_size: tuple[int, int] = (256, 256)

    MEAN: ClassVar = (123.675, 116.28, 103.53)
    STD: ClassVar = (58.395, 57.12, 57.375)

    def resized_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The image's (H, W) in the square."""
        scale = self.img_size / max(size)
        height, width = (int(side * scale + 0.5) for side in size)
        return height, width

    def places(self, points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        """Points (T, 2) in image pixels, in pixels of the square."""
        height, width = self.resized_size(size)
        return points * (width / size[1], height / size[0])


@dataclass(frozen=True)
class ResizedGeometry:
    """SAM 2's: the image is resized to the square. `mask_side` are the rows and the columns of masks that the
    decoder takes."""

    img_size: int = 1024
    mask_side: int = 256

    MEAN: ClassVar = (0.485, 0.456, 0.406)
    STD: ClassVar = (0.229, 0.224, 0.225)
    MAX_LOGIT: ClassVar = 32.0

    def places(self, points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        """Points (T, 2) in image pixels, in pixels of the square."""
        height, width = size
        return points / (width, height) * self.img_size

    def seen_part(self, mask: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
        """The rows and columns of a mask prompt of SAM's, (h, w), that cover the image; fractions count."""
        rows, columns = PaddedGeometry().resized_size(size)
        side = PaddedGeometry.img_size
        return rows * mask[0] / side, columns * mask[0] / side
