"""How SAM 2, and the models made from it, see images and prompts: the image is resized to a square."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  as everywhere
from numpy.typing import NDArray
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from sampoll.core.jobs import Prompt, RgbImage
from sampoll.models.shared.prompt_tokens import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, PADDING, Tokens


@dataclass(frozen=True)
class ResizedSquare:
    """ImageRules of SAM 2. `mask_side` are the rows and the columns of masks that the decoder takes."""

    img_size: int = 1024
    mask_side: int = 256

    MEAN: ClassVar = (0.485, 0.456, 0.406)
    STD: ClassVar = (0.229, 0.224, 0.225)
    MAX_LOGIT: ClassVar = 32.0

    def prepared(self, image: RgbImage, device: torch.device, *, exact: bool) -> Tensor:
        # The model was trained on images that were resized as floats. Rounded to bytes they differ by more
        # than the lower precisions do, so there is no faster way for these.
        pixels = torch.from_numpy(np.require(image, requirements="W"))  # (H, W, 3)
        planes = pixels.to(device).permute(2, 0, 1).contiguous().float().div(255)
        square = (self.img_size, self.img_size)
        resized = F.interpolate(planes[None], square, mode="bilinear", align_corners=False, antialias=True)[0]
        mean, std = (torch.tensor(each, device=device).view(-1, 1, 1) for each in (self.MEAN, self.STD))
        return (resized - mean) / std

    def places(self, points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        height, width = size
        return points / (width, height) * self.img_size

    def full_size(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(logits[:, None], size, mode="bilinear", align_corners=False)[:, 0]

    def mask_input(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """A mask prompt covers SAM's square, in which the image is at the top left: only that part is
        resized to the whole of this one."""
        square = ResizeLongestSide(1024)
        seen = square.get_preprocess_shape(*size, square.target_length)
        parts = [
            pixels * logits.shape[0] / square.target_length for pixels in seen
        ]  # fractions of pixels count
        rows, columns = (math.ceil(part) for part in parts)
        centres = (torch.arange(self.mask_side, device=logits.device) + 0.5) / self.mask_side
        ys, xs = (2 * centres * part / cut - 1 for part, cut in zip(parts, (rows, columns), strict=True))
        grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)[None]
        kept = logits[None, None, :rows, :columns]
        return F.grid_sample(kept, grid, padding_mode="border", align_corners=False)[0, 0]

    def refined(self, logits: Tensor) -> Tensor:
        return logits.clamp(-self.MAX_LOGIT, self.MAX_LOGIT)


def sam2_tokens(prompt: Prompt) -> Tokens:
    """A prompt as SAM 2 was trained on it: the corners of the box, the points, and always a padding token,
    which the model knows. A mask alone has no tokens."""
    tokens: list[tuple[float, float, int]] = []
    if prompt.box:
        box = prompt.box
        tokens += [(box.x0, box.y0, BOX_TOP_LEFT), (box.x1, box.y1, BOX_BOTTOM_RIGHT)]
    tokens += [(point.x, point.y, point.label) for point in prompt.points]
    if tokens:
        tokens.append((0, 0, PADDING))
    columns = np.array(tokens, np.float64).reshape(-1, 3)
    return columns[:, :2], columns[:, 2].astype(np.int64)
