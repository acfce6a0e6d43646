"""Masks as 1-bit grayscale PNG: NAME.png, or NAME.0.png, NAME.1.png, ... for several."""

from collections.abc import Sequence

import cv2
import numpy as np

from sampoll.results import Artifact, Mask, Segmentation


class PngMask:
    """One PNG a mask, of the image's size: 1 on the object, 0 elsewhere."""

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        count = sum(map(len, segmentation.masks))
        return [".png"] if count == 1 else [f".{index}.png" for index in range(count)]

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        masks = [mask for masks in segmentation.masks for mask in masks]
        return [
            Artifact(suffix, encode(mask))
            for suffix, mask in zip(self.suffixes(segmentation), masks, strict=True)
        ]


def encode(mask: Mask) -> bytes:
    """A mask as a PNG of bit depth 1, grayscale."""
    done, content = cv2.imencode(".png", mask.pixels().view(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    if not done:
        raise ValueError(f"no PNG can be as large as {mask.size} (H, W)")
    return content.tobytes()
