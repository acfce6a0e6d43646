"""Images as SAM sees them: the longer side resized to the square's, at its top left, the rest padded."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from sampoll.core.jobs import RgbImage
from sampoll.models.shared.square_geometry import PaddedGeometry


@dataclass(frozen=True)
class PaddedSquare(PaddedGeometry):
    """ImageRules of SAM, and of families that keep them."""

    def prepared(self, image: RgbImage, device: torch.device, *, exact: bool) -> Tensor:
        resized = self._by_pillow(image, device) if exact else self._by_torch(image, device)  # (3, h, w)
        mean, std = (torch.tensor(each, device=device).view(-1, 1, 1) for each in (self.MEAN, self.STD))
        height, width = resized.shape[-2:]
        return F.pad((resized - mean) / std, (0, self.img_size - width, 0, self.img_size - height))

    def full_size(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        square = (self.img_size, self.img_size)
        height, width = self.resized_size(size)
        padded = F.interpolate(logits[:, None], square, mode="bilinear", align_corners=False)
        unpadded = padded[..., :height, :width]
        return F.interpolate(unpadded, size, mode="bilinear", align_corners=False)[:, 0]

    def mask_input(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        if logits.shape == self.mask_input_size:
            return logits
        return F.interpolate(logits[None, None], self.mask_input_size, mode="bilinear", antialias=True)[0, 0]

    def refined(self, logits: Tensor) -> Tensor:
        return logits

    def _by_pillow(self, image: RgbImage, device: torch.device) -> Tensor:
        """As SamPredictor does it."""
        resized = ResizeLongestSide(self.img_size).apply_image(image)  # (h, w, 3)
        return torch.as_tensor(resized, device=device).permute(2, 0, 1).contiguous()

    def _by_torch(self, image: RgbImage, device: torch.device) -> Tensor:
        """Several times faster than Pillow; one value in a hundred differs by one level, which is less than
        the rounding of the lower precisions."""
        size = self.resized_size((image.shape[0], image.shape[1]))
        pixels = torch.from_numpy(np.require(image, requirements="W"))  # (H, W, 3)
        if device.type == "cuda":
            pixels = pixels.to(device).float()  # pinning each image first takes longer than it saves
        planes = pixels.permute(2, 0, 1)[None]
        resized = F.interpolate(planes, size, mode="bilinear", antialias=True)
        return resized[0].round() if resized.is_floating_point() else resized[0]
