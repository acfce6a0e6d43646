"""Masks as PNG, one file each: NAME.png, or NAME.0.png, NAME.1.png, ... for several."""

from collections.abc import Callable, Sequence

import numpy as np

from sampoll.core.results import Artifact, Mask, Segmentation
from sampoll.formats.options import FormatOptions
from sampoll.formats.png_encoder import encode_grayscale


def build(options: FormatOptions) -> "PngMask":
    """1 bit a pixel: 1 on the object, 0 elsewhere."""
    return PngMask()


def build_8_bit(options: FormatOptions) -> "PngMask":
    """In png8/, 8 bits a pixel, for readers that know no others: 255 on the object, 0 elsewhere."""
    return PngMask("png8/", encode_8_bit)


def encode(mask: Mask) -> bytes:
    """A mask as a PNG of bit depth 1, whose rows are the packed bits as they are."""
    return encode_grayscale(mask.packed, mask.size[1], bit_depth=1)


def encode_8_bit(mask: Mask) -> bytes:
    """A mask as a PNG of 0 and 255."""
    return encode_grayscale(mask.pixels().view(np.uint8) * np.uint8(255), mask.size[1], bit_depth=8)


class PngMask:
    """One grayscale PNG a mask, of the image's size, in a folder of its own or beside the record."""

    def __init__(self, folder: str = "", encode: Callable[[Mask], bytes] = encode) -> None:
        self._folder = folder
        self._encode = encode
        rank = 2 if folder else 1
        self.thumbnails = {f"{folder}.png": rank, f"{folder}.0.png": rank}

    def suffixes(self, segmentation: Segmentation) -> Sequence[str]:
        numbers = [number for number, _, _ in segmentation.numbered_masks()]
        is_alone = len(numbers) == 1 and not segmentation.skipped
        names = [".png"] if is_alone else [f".{number}.png" for number in numbers]
        return [self._folder + name for name in names]

    def render(self, segmentation: Segmentation, earlier: Sequence[Artifact]) -> Sequence[Artifact]:
        masks = [mask for masks in segmentation.masks for mask in masks]
        return [
            Artifact(suffix, self._encode(mask))
            for suffix, mask in zip(self.suffixes(segmentation), masks, strict=True)
        ]
