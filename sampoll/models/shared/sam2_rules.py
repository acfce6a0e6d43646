"""How SAM 2, and the models made from it, see images and prompts: the image is resized to a square."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from torch import Tensor

from sampoll.core.jobs import RgbImage
from sampoll.models.shared.square_geometry import ResizedGeometry


@dataclass(frozen=True)
class ResizedSquare(ResizedGeometry):
    """ImageRules of SAM 2."""

    def prepared(self, image: RgbImage, device: torch.device, *, exact: bool) -> Tensor:
        # The model was trained on images that were resized as floats. Rounded to bytes they differ by more
        # than the lower precisions do, so there is no faster way for these.
        pixels = torch.from_numpy(np.require(image, requirements="W"))  # (H, W, 3)
        planes = pixels.to(device).permute(2, 0, 1).contiguous().float().div(255)
        square = (self.img_size, self.img_size)
        resized = F.interpolate(planes[None], square, mode="bilinear", align_corners=False, antialias=True)[0]
        mean, std = (torch.tensor(each, device=device).view(-1, 1, 1) for each in (self.MEAN, self.STD))
        return (resized - mean) / std

    def full_size(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(logits[:, None], size, mode="bilinear", align_corners=False)[:, 0]

    def mask_input(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """A mask prompt covers SAM's square, in which the image is at the top left: only that part is
        resized to the whole of this one."""
        parts = self.seen_part((logits.shape[0], logits.shape[1]), size)  # fractions of pixels count
        rows, columns = (math.ceil(part) for part in parts)
        centres = (torch.arange(self.mask_side, device=logits.device) + 0.5) / self.mask_side
        ys, xs = (2 * centres * part / cut - 1 for part, cut in zip(parts, (rows, columns), strict=True))
        grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)[None]
        kept = logits[None, None, :rows, :columns]
        return F.grid_sample(kept, grid, padding_mode="border", align_corners=False)[0, 0]

    def refined(self, logits: Tensor) -> Tensor:
        return logits.clamp(-self.MAX_LOGIT, self.MAX_LOGIT)
