"""The orientation in EXIF data, and images turned by it.

https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf, 4.6.2 and 4.6.4
"""

import struct
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from sampoll.core.jobs import RgbImage

Place: TypeAlias = tuple[float, float]
"""x and y in pixels."""
UPRIGHT = 1
ORIENTATION = 0x112
TRANSPOSED = (5, 6, 7, 8)
"""The orientations whose upright image is as wide as the stored one is high."""
_EXIF_DIRECTORY = 0x8769
_SHORT, _LONG = 3, 4
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ENTRY_BYTES = 12
_TURNED: Mapping[int, Callable[[RgbImage], RgbImage]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels),
}

_FLIPPED: Mapping[int, tuple[bool, bool]] = {
    2: (True, False),
    3: (True, True),
    4: (False, True),
    6: (False, True),
    7: (True, True),
    8: (True, False),
}
"""Whether the stored image is flipped from left to right, and from top to bottom, before it is transposed."""


def upright_place(place: Place, last: Place, orientation: int) -> Place:
    """Where a place (x, y) of the stored image is once it is upright; `last` is the largest place."""
    x, y = _flipped(place, last, orientation)
    return (y, x) if orientation in TRANSPOSED else (x, y)


def stored_place(place: Place, last: Place, orientation: int) -> Place:
    """Where a place (x, y) of the upright image is as it is stored; `last` is the largest place there."""
    x, y = place
    return _flipped((y, x) if orientation in TRANSPOSED else (x, y), last, orientation)


def _flipped(place: Place, last: Place, orientation: int) -> Place:
    flips_x, flips_y = _FLIPPED.get(orientation, (False, False))
    return last[0] - place[0] if flips_x else place[0], last[1] - place[1] if flips_y else place[1]


def upright(pixels: RgbImage, orientation: int) -> RgbImage:
    """The image as it is shown, given as it is stored."""
    turned = _TURNED.get(orientation)
    return np.ascontiguousarray(turned(pixels) if turned else pixels)


def orientation_of(exif: bytes) -> int:
    """The orientation, 1 to 8; 1 (upright) if there is none, or if the data is damaged.

    Only an orientation of the type that EXIF defines, one SHORT, counts: browsers pass over others, and other
    programs read different numbers from them.
    """
    order = _ORDERS.get(exif[:4])
    if order is None:
        return UPRIGHT
    try:
        directories = list(struct.unpack_from(order + "I", exif, 4))
        for directory in directories:  # the first one, then that of EXIF, where a few programs write it
            [number] = struct.unpack_from(order + "H", exif, directory)
            for at in range(directory + 2, directory + 2 + number * _ENTRY_BYTES, _ENTRY_BYTES):
                tag, kind, count, short = struct.unpack_from(order + "HHIHxx", exif, at)
                if (tag, kind, count) == (ORIENTATION, _SHORT, 1) and 1 <= short <= max(_TURNED):
                    return int(short)
                if (tag, kind, count) == (_EXIF_DIRECTORY, _LONG, 1) and len(directories) == 1:
                    directories += struct.unpack_from(order + "I", exif, at + 8)
    except struct.error:  # behind the end of the data
        pass
    return UPRIGHT
