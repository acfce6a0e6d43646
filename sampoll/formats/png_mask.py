"""Masks as 1-bit grayscale PNG: NAME.png, or NAME.0.png, NAME.1.png, ... for several."""

import struct
from collections.abc import Sequence

import numpy as np
from isal import isal_zlib

from sampoll.formats.options import FormatOptions
from sampoll.results import Artifact, Mask, Segmentation

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BIT_DEPTH, GRAYSCALE = 1, 0
FAST = 1
"""ISA-L's level 1 compresses masks as well as zlib's level 1, in an eighth of the time."""


def build(options: FormatOptions) -> "PngMask":
    return PngMask()


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
    """A mask as a PNG of bit depth 1, grayscale, whose lines are the packed bits as they are.

    https://www.w3.org/TR/png-3/
    """
    height, width = mask.size
    if not 0 < max(height, width) < 2**31:
        raise ValueError(f"no PNG can be as large as {mask.size} (H, W)")
    lines = np.zeros((height, 1 + mask.packed.shape[1]), np.uint8)  # each begins with its filter: 0, none
    lines[:, 1:] = mask.packed
    header = struct.pack(">IIBBBBB", width, height, BIT_DEPTH, GRAYSCALE, 0, 0, 0)
    data = isal_zlib.compress(lines, FAST)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = isal_zlib.crc32(content, isal_zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
