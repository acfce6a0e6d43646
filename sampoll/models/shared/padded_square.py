"""Images as SAM sees them: the longer side resized to the square's, at its top left, the rest padded."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from numpy.typing import NDArray
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from sampoll.core.jobs import RgbImage


@dataclass(frozen=True)
class PaddedSquare:
    """ImageRules of SAM, and of families that keep them. `mask_input_size` are the rows and columns of the
    mask prompts that the decoder takes."""

    img_size: int = 1024
    mask_input_size: tuple[int, int] = (256, 256)

    MEAN: ClassVar = (123.675, 116.28, 103.53)
    STD: ClassVar = (58.395, 57.12, 57.375)

    def prepared(self, image: RgbImage, device: torch.device, *, exact: bool) -> Tensor:
        resized = self._by_pillow(image, device) if exact else self._by_torch(image, device)  # (3, h, w)
        mean, std = (torch.tensor(each, device=device).view(-1, 1, 1) for each in (self.MEAN, self.STD))
        height, width = resized.shape[-2:]
        return F.pad((resized - mean) / std, (0, self.img_size - width, 0, self.img_size - height))

    def places(self, points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        placed: NDArray[np.float64] = self._resize.apply_coords(points, size)
        return placed

    def full_size(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        square = (self.img_size, self.img_size)
        height, width = self._resized_size(size)
        padded = F.interpolate(logits[:, None], square, mode="bilinear", align_corners=False)
        unpadded = padded[..., :height, :width]
        return F.interpolate(unpadded, size, mode="bilinear", align_corners=False)[:, 0]

    def mask_input(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        if logits.shape == self.mask_input_size:
            return logits
        return F.interpolate(logits[None, None], self.mask_input_size, mode="bilinear", antialias=True)[0, 0]

    def refined(self, logits: Tensor) -> Tensor:
        return logits

    @property
    def _resize(self) -> ResizeLongestSide:
        return ResizeLongestSide(self.img_size)

    def _resized_size(self, size: tuple[int, int]) -> tuple[int, int]:
        resized: tuple[int, int] = self._resize.get_preprocess_shape(*size, self.img_size)
        return resized

    def _by_pillow(self, image: RgbImage, device: torch.device) -> Tensor:
        """As SamPredictor does it."""
        resized = self._resize.apply_image(image)  # (h, w, 3)
        return torch.as_tensor(resized, device=device).permute(2, 0, 1).contiguous()

    def _by_torch(self, image: RgbImage, device: torch.device) -> Tensor:
        """Several times faster than Pillow; one value in a hundred differs by one level, which is less than
        the rounding of the lower precisions."""
        size = self._resized_size((image.shape[0], image.shape[1]))
        pixels = torch.from_numpy(np.require(image, requirements="W"))  # (H, W, 3)
        if device.type == "cuda":
            pixels = pixels.to(device).float()  # pinning each image first takes longer than it saves
        planes = pixels.permute(2, 0, 1)[None]
        resized = F.interpolate(planes, size, mode="bilinear", antialias=True)
        return resized[0].round() if resized.is_floating_point() else resized[0]
